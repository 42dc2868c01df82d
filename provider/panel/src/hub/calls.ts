/** The provider's API of cards (docs/cards.md). The token says whose cards are meant. */

import type { Api } from '../api/client';
import { members } from '../api/read';
import { readCard, readResponder, readThread } from './read';
import type { Card, Responder, Thread } from './types';

/** Most cards of one page, and most lines. */
export const PAGE = 100;
const LINES = 500;

export interface NewCard {
  readonly responder: string;
  readonly creator: string;
  readonly title?: string;
  readonly message?: string;
}

export class CardCalls {
  constructor(private readonly api: Api) {}

  responders(token: string): Promise<Responder[]> {
    return this.api.read('/responders', { token }, (json) => members(json).list('responders', readResponder));
  }

  /** A page of cards, last changed first: those behind the card `before`. */
  list(token: string, archived: boolean, before?: string): Promise<Card[]> {
    const query = `archived=${archived}${before ? `&before=${before}` : ''}`;
    return this.api.read(`/cards?${query}`, { token }, (json) => members(json).list('cards', readCard));
  }

  /** A card with all lines behind `after`. */
  async thread(token: string, id: string, after: number): Promise<Thread> {
    const { card, lines } = await this.page(token, id, after);
    if (lines.length < LINES) return { card, lines };
    const rest = await this.thread(token, id, lines.at(-1)?.number ?? after);
    return { card: rest.card, lines: [...lines, ...rest.lines] };
  }

  /** With the same key it makes one card and one message, however often it is sent. */
  create(token: string, key: string, card: NewCard): Promise<Card> {
    return this.write(token, '/cards', card, key);
  }

  send(token: string, id: string, key: string, author: string, body: string): Promise<Card> {
    return this.write(token, `/cards/${id}/messages`, { author, body }, key);
  }

  retitle(token: string, id: string, title: string): Promise<Card> {
    return this.write(token, `/cards/${id}/title`, { title });
  }

  archive(token: string, id: string): Promise<Card> {
    return this.write(token, `/cards/${id}/archive`, {});
  }

  retry(token: string, id: string): Promise<Card> {
    return this.write(token, `/cards/${id}/retry`, {});
  }

  private page(token: string, id: string, after: number): Promise<Thread> {
    return this.api.read(`/cards/${id}?after=${after}`, { token }, readThread);
  }

  private write(token: string, path: string, body: unknown, key?: string): Promise<Card> {
    const headers = key && { 'Idempotency-Key': key };
    return this.api.read(path, { method: 'POST', token, body, ...(headers && { headers }) }, readCard);
  }
}
