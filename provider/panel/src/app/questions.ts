/** A question as the request that the provider wants, and what is shown of the answer. Pure. */

import type { Ask, AskRule } from '../api/types';

const QUESTION = '{question}';

/** The request of a question: it stands where the rule says, encoded where that is an address. */
export function requestOf(rule: AskRule, question: string): Ask {
  const path = rule.path.replaceAll(QUESTION, () => encodeURIComponent(question));
  if (rule.method === 'GET') return { method: 'GET', path };
  const body = JSON.stringify(filled(rule.body, question));
  return { method: 'POST', path, headers: { 'content-type': 'application/json' }, body };
}

function filled(value: unknown, question: string): unknown {
  if (typeof value === 'string') return value.replaceAll(QUESTION, () => question);
  if (Array.isArray(value)) return value.map((item) => filled(item, question));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, filled(item, question)]));
}

/** The text of an answer: what the pointer finds in JSON, else all of it; anything else as it is. */
export function readable(body: string, pointer: string): string {
  const json = parsed(body);
  if (json === undefined) return body;
  const found = at(json, pointer);
  return text(found === undefined ? json : found, 2);
}

/** What one event of a stream adds to the answer: of JSON only what the pointer finds. */
export function pieceOf(data: string, pointer: string): string {
  const json = parsed(data);
  if (typeof json !== 'object' || json === null) return data === '[DONE]' ? '' : data;
  const found = at(json, pointer);
  return found === undefined || found === null ? '' : text(found);
}

function text(value: unknown, indent?: number): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, indent);
}

/** The value at a JSON pointer (RFC 6901); undefined where there is none. */
function at(json: unknown, pointer: string): unknown {
  let value = json;
  for (const token of pointer.split('/').slice(1)) {
    const name = token.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
