/** The provider's API for people, by fetch. Tokens go into a header, never into an address. */

import {
  MalformedError,
  members,
  readAnswer,
  readChallenge,
  readClosePreview,
  readInvoice,
  readMade,
  readPreview,
  readService,
  readSession,
} from './read';
import { type Ended, readStream } from './streaming';
import type { Answer, Ask, Challenge, ClosePreview, Invoice, Made, Preview, Service, Session } from './types';

/** Why a call brought no answer. `problem` is the name that docs/people-api.md gives it, empty for anything else. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** `unreachable`: nobody knows whether the call arrived. */
    readonly kind: 'unreachable' | 'refused' | 'garbage',
    readonly problem: string,
    detail: string,
    readonly status = 0,
    /** The problem's own members, as they came. */
    readonly body: unknown = null,
  ) {
    super(detail);
  }
}

const PROBLEM = 'urn:retainer:problem:';
const TIMEOUT_MS = 60_000;

interface Call {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly token?: string | null;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export class Api {
  constructor(
    readonly base: string,
    private readonly ask: typeof fetch = (...request) => fetch(...request),
  ) {}

  service(): Promise<Service> {
    return this.read('/offers', {}, readService);
  }

  /** An invoice for a session; its token is in this answer only. */
  fund(offer: string, amount: bigint, payer: string | null): Promise<Made> {
    return this.post('/sessions', null, { offer, amount: String(amount), ...(payer && { payer }) }, over(amount));
  }

  topUp(session: string, token: string, amount: bigint): Promise<Made> {
    return this.post(`/sessions/${session}/topup`, token, { amount: String(amount) }, over(amount));
  }

  invoice(id: string, token: string): Promise<Invoice> {
    return this.read(`/invoices/${id}`, { token }, readInvoice);
  }

  namePayer(id: string, token: string, payer: string): Promise<Invoice> {
    return this.post(`/invoices/${id}/payer`, token, { payer }, readInvoice);
  }

  /** Hands in a signed transaction (base64). Repeating it is harmless. */
  pay(id: string, token: string, transaction: string): Promise<Invoice> {
    return this.post(`/invoices/${id}/transaction`, token, { transaction }, readInvoice);
  }

  session(id: string, token: string): Promise<Session> {
    return this.read(`/sessions/${id}`, { token }, readSession);
  }

  /**
   * One ask, paid by the session; with the same key it is charged once, however often it is sent. An answer that flows
   * is `heard` event by event, if the service sells it so.
   */
  async request(
    id: string,
    token: string,
    key: string,
    ask: Ask,
    heard: (data: string) => void,
  ): Promise<Answer | Ended> {
    const path = `/sessions/${id}/request`;
    const headers = { 'Idempotency-Key': key, Accept: 'application/json, text/event-stream' };
    const head = new AbortController();
    const late = setTimeout(() => head.abort(), TIMEOUT_MS);
    // Once it has begun an answer takes as long as it takes.
    const call = { method: 'POST', token, body: ask, headers, signal: head.signal } as const;
    const response = await this.open(path, call).finally(() => clearTimeout(late));
    const flows = response.headers.get('content-type')?.startsWith('text/event-stream');
    return flows ? readStream(response.body, heard) : this.parsed(path, response, readAnswer);
  }

  askFree(ask: Ask): Promise<Answer> {
    return this.post('/ask', null, ask, readAnswer);
  }

  /** What would pay for an ask, before any work. */
  preview(method: string, path: string): Promise<Preview> {
    return this.post('/ask/preview', null, { method, path }, readPreview);
  }

  closePreview(id: string, token: string): Promise<ClosePreview> {
    return this.read(`/sessions/${id}/close`, { token }, readClosePreview);
  }

  close(id: string, token: string): Promise<Session> {
    return this.post(`/sessions/${id}/close`, token, {}, readSession);
  }

  recoverChallenge(wallet: string): Promise<Challenge> {
    return this.post('/recover/challenge', null, { wallet }, readChallenge);
  }

  /** The wallet's sessions here that are not closed, newest first. */
  recover(wallet: string, proof: Proof): Promise<Session[]> {
    return this.post('/recover', null, { wallet, ...proof }, (json) => members(json).list('sessions', readSession));
  }

  tokenChallenge(session: string): Promise<Challenge> {
    return this.post(`/sessions/${session}/token/challenge`, null, {}, readChallenge);
  }

  replaceToken(session: string, proof: Proof): Promise<string> {
    return this.post(`/sessions/${session}/token`, null, proof, (json) => members(json).text('token'));
  }

  /** Sends a call and returns whatever answered with success; ApiError otherwise. */
  async open(path: string, call: Call & { readonly signal?: AbortSignal }): Promise<Response> {
    let response: Response;
    try {
      response = await this.ask(this.base + path, {
        method: call.method ?? 'GET',
        headers: {
          ...(call.token && { Authorization: `Bearer ${call.token}` }),
          ...(call.body !== undefined && { 'Content-Type': 'application/json' }),
          ...call.headers,
        },
        ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
        cache: 'no-store',
        credentials: 'same-origin',
        signal: call.signal ?? AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      throw new ApiError('unreachable', '', String(error));
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }

  private post<Value>(
    path: string,
    token: string | null,
    body: unknown,
    read: (json: unknown) => Value,
  ): Promise<Value> {
    return this.read(path, { method: 'POST', token, body }, read);
  }

  /** Sends a call and reads its JSON answer. */
  async read<Value>(path: string, call: Call, read: (json: unknown) => Value): Promise<Value> {
    return this.parsed(path, await this.open(path, call), read);
  }

  private async parsed<Value>(path: string, response: Response, read: (json: unknown) => Value): Promise<Value> {
    try {
      return read(await response.json());
    } catch (error) {
      const words = error instanceof MalformedError ? error.message : 'no JSON';
      throw new ApiError('garbage', '', `${path}: ${words}`, response.status);
    }
  }
}

/** A wallet's signature (base64) over a challenge's text. */
export interface Proof {
  readonly nonce: string;
  readonly expiresAt: number;
  readonly signature: string;
}

/** An invoice over what was asked for, and over nothing else. */
function over(amount: bigint): (json: unknown) => Made {
  return (json) => {
    const made = readMade(json);
    if (made.invoice.amount !== amount)
      throw new MalformedError(`an invoice over ${made.invoice.amount}, not ${amount}`);
    return made;
  };
}

async function refusal(response: Response): Promise<ApiError> {
  const json: unknown = await response.json().catch(() => null);
  const body = typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
  const type = typeof body.type === 'string' ? body.type : '';
  const detail = typeof body.detail === 'string' ? body.detail : `status ${response.status}`;
  // Its proxy says so when the provider behind it is gone: nobody knows what became of the call.
  if (!type && response.status >= 502) return new ApiError('unreachable', '', detail, response.status);
  return new ApiError(
    'refused',
    type.startsWith(PROBLEM) ? type.slice(PROBLEM.length) : type,
    detail,
    response.status,
    body,
  );
}
