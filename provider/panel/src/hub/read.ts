/** Reading what the provider says of cards. */

import { members } from '../api/read';
import { CARD_STATUSES, type Card, type Line, type Responder, type Thread } from './types';

export function readCard(value: unknown): Card {
  const json = members(value);
  return {
    id: json.text('id'),
    responder: json.text('responder'),
    creator: json.text('creator'),
    title: json.maybe('title', json.text),
    status: json.oneOf('status', CARD_STATUSES),
    preview: json.text('preview'),
    lines: json.count('lines'),
    waiting: json.count('waiting'),
    amount: json.amount('amount'),
    lastError: json.maybe('lastError', json.text),
    updatedAt: json.count('updatedAt'),
  };
}

function readLine(value: unknown): Line {
  const json = members(value);
  const previews = json.list('references', (item): [string, string | null] => {
    const reference = members(item);
    return [reference.text('ref'), reference.maybe('preview', reference.text)];
  });
  return {
    number: json.count('line'),
    role: json.oneOf('role', ['person', 'responder']),
    author: json.text('author'),
    at: json.count('at'),
    body: json.text('body'),
    previews: new Map(previews),
  };
}

export function readThread(value: unknown): Thread {
  return { card: readCard(value), lines: members(value).list('thread', readLine) };
}

export function readResponder(value: unknown): Responder {
  const json = members(value);
  return {
    name: json.text('name'),
    online: json.oneOf('status', ['online', 'offline']) === 'online',
    offer: json.text('offer'),
    price: json.amount('price'),
    byUse: json.flag('byUse'),
  };
}
