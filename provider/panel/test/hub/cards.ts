/** A provider of cards to test the hub against, in memory, answering as docs/cards.md says. */

import { LIVE, SERVICE } from '../made';

export const NOW = 1_800_000_000;

interface KeptCard {
  [name: string]: unknown;
  id: string;
  thread: Record<string, unknown>[];
}

export function cardId(number: number): string {
  return `qs-${String(number).padStart(26, '0')}`;
}

export class CardProvider {
  readonly calls: string[] = [];
  readonly cards: KeptCard[] = [];
  readonly keys = new Map<string, string>();
  up = true;
  /** The next write is refused with this problem. */
  refuse: string | null = null;
  /** Its answer is lost, though it is done. */
  lose = false;
  online = true;
  /** When the lists arrive that are asked for now. */
  lists = Promise.resolve();
  session = LIVE;
  private at = NOW;

  private readonly held = new Map<string, Promise<void>>();

  /** From here on the answer to a call is as of now, and comes when what this returns is called. */
  hold(call: string): () => void {
    let release = () => {};
    this.held.set(call, new Promise((come) => (release = come)));
    return () => {
      this.held.delete(call);
      release();
    };
  }

  readonly fetch = async (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const call = `${init.method} ${String(url).replace('/api', '')}`;
    if (!this.up) throw new TypeError('connection refused');
    this.calls.push(call);
    const held = this.held.get(call);
    const answer = this.answer(call, JSON.parse(String(init.body ?? '{}')), new Headers(init.headers));
    if (call.startsWith('GET /cards?')) await this.lists;
    await held;
    if (this.lose && init.method === 'POST') {
      this.lose = false;
      throw new TypeError('connection reset');
    }
    return answer;
  };

  /** Somebody else makes a card. */
  add(members: Record<string, unknown> = {}): KeptCard {
    this.at += 1;
    const card: KeptCard = {
      id: cardId(this.cards.length + 1),
      sessionId: this.session.sessionId,
      scope: 'card',
      responder: 'ada',
      creator: 'me',
      title: null,
      titleSource: null,
      status: 'needs_title',
      preview: '',
      lines: 0,
      waiting: 0,
      turns: 0,
      units: '0',
      amount: '0',
      lastError: null,
      createdAt: this.at,
      updatedAt: this.at,
      thread: [],
      ...members,
    };
    this.cards.push(card);
    return card;
  }

  /** Somebody writes a line. */
  write(card: KeptCard, author: string, body: string): void {
    this.at += 1;
    const line = card.thread.length + 1;
    const role = author === card.responder ? 'responder' : 'person';
    card.thread.push({ line, role, author, at: this.at, body, answers: null, references: [] });
    Object.assign(card, { lines: line, preview: body, updatedAt: this.at });
  }

  private answer(call: string, body: Record<string, string>, headers: Headers): Response {
    if (call === 'GET /responders') {
      const status = this.online ? 'online' : 'offline';
      const one = { home: '', node: '', status, offer: 'standard', price: '8000', byUse: false };
      return Response.json({ responders: ['ada', 'bert'].map((name) => ({ name, ...one })) });
    }
    const [, id] = /\/cards\/(qs-[0-9A-Z]+)/.exec(call) ?? [];
    const card = this.cards.find((one) => one.id === id);
    if (call.startsWith('GET /cards?')) {
      const archived = call.includes('archived=true');
      const listed = this.cards.filter(({ status }) => (status === 'archived') === archived);
      return Response.json({ cards: listed.toSorted((a, b) => Number(b.updatedAt) - Number(a.updatedAt)) });
    }
    if (this.refuse) return problem(this.refuse);
    if (call === 'POST /cards') return Response.json(this.made(body, headers.get('idempotency-key') ?? ''));
    if (!card) return problem('quick-session-unknown', 404);
    if (call.startsWith('GET ')) {
      const after = Number(new URL(call.slice(4), 'http://x').searchParams.get('after'));
      return Response.json({ ...card, thread: card.thread.filter(({ line }) => Number(line) > after) });
    }
    if (call.endsWith('/messages')) this.once(headers, () => this.write(card, body.author ?? '', body.body ?? ''));
    if (call.endsWith('/title')) Object.assign(card, { title: body.title, titleSource: 'person', status: 'active' });
    if (call.endsWith('/archive')) Object.assign(card, { status: 'archived' });
    if (call.endsWith('/retry')) Object.assign(card, { status: 'running', waiting: 1, lastError: null });
    return Response.json(card);
  }

  private made(body: Record<string, string>, key: string): KeptCard {
    const known = this.cards.find(({ id }) => id === this.keys.get(key));
    if (known) return known;
    const { title = null, responder, creator } = body;
    const card = this.add({ title, responder, creator, status: title ? 'active' : 'needs_title' });
    if (body.message) this.write(card, creator ?? '', body.message);
    this.keys.set(key, card.id);
    return card;
  }

  private once(headers: Headers, act: () => void): void {
    const key = headers.get('idempotency-key') ?? '';
    if (!this.keys.has(key)) act();
    this.keys.set(key, 'done');
  }
}

/** The service, with somebody who answers on cards. */
export const WITH_CARDS = {
  ...SERVICE,
  people: { ...SERVICE.people, responders: [{ name: 'ada', offer: 'standard' }] },
};

function problem(name: string, status = 409): Response {
  return Response.json({ type: `urn:retainer:problem:${name}`, detail: `detail of ${name}` }, { status });
}
