/** Reading answers: the one place where JSON from outside becomes what the page works with. */

import type {
  Answer,
  AskRule,
  Challenge,
  ClosePreview,
  Invoice,
  Lack,
  Made,
  Offer,
  Preview,
  Service,
  Session,
  Shortage,
  Sla,
  Token,
} from './types';
import { INVOICE_STATES, SESSION_STATES } from './types';

/** An answer that is not what docs/people-api.md says. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

const AMOUNT = /^(0|[1-9][0-9]{0,19})$/;

/** A JSON object whose members are read by name and kind. */
class Members {
  constructor(private readonly json: Record<string, unknown>) {}

  has(name: string): boolean {
    return this.json[name] !== undefined && this.json[name] !== null;
  }

  text(name: string): string {
    return this.as(name, (value) => typeof value === 'string', String);
  }

  count(name: string): number {
    return this.as(name, (value) => Number.isSafeInteger(value) && Number(value) >= 0, Number);
  }

  flag(name: string): boolean {
    return this.json[name] === true;
  }

  amount(name: string): bigint {
    return this.as(
      name,
      (value) => typeof value === 'string' && AMOUNT.test(value),
      (value) => BigInt(value as string),
    );
  }

  oneOf<Value extends string>(name: string, values: readonly Value[]): Value {
    return this.as(
      name,
      (value) => values.includes(value as Value),
      (value) => value as Value,
    );
  }

  /** Null where the member is absent or null. */
  maybe<Value>(name: string, read: (name: string) => Value): Value | null {
    return this.has(name) ? read.call(this, name) : null;
  }

  inner(name: string): Members {
    return members(this.json[name]);
  }

  list<Value>(name: string, read: (item: unknown) => Value): Value[] {
    const value = this.json[name] ?? [];
    if (!Array.isArray(value)) throw new MalformedError(`${name} is no list`);
    return value.map(read);
  }

  private as<Value>(name: string, fits: (value: unknown) => boolean, read: (value: unknown) => Value): Value {
    const value = this.json[name];
    if (!fits(value)) throw new MalformedError(`${name} is ${JSON.stringify(value)}`);
    return read(value);
  }
}

export function members(json: unknown): Members {
  if (typeof json !== 'object' || json === null) throw new MalformedError('no JSON object');
  return new Members(json as Record<string, unknown>);
}

function token(json: Members): Token {
  return {
    mint: json.text('mint'),
    symbol: json.maybe('symbol', json.text),
    decimals: json.count('decimals'),
    tokenProgram: json.text('tokenProgram'),
  };
}

function sla(json: Members): Sla {
  return {
    maxLatencyMs: json.maybe('maxLatencyMs', json.count),
    acceptedStatuses: json.list('acceptedStatuses', String),
    minBodyBytes: json.maybe('minBodyBytes', json.count),
  };
}

function askRule(json: Members, body: unknown): AskRule {
  return {
    method: json.oneOf('method', ['GET', 'POST']),
    path: json.text('path'),
    body,
    answer: json.text('answer'),
    streams: json.flag('streams'),
  };
}

export function readOffer(value: unknown): Offer {
  const json = members(value);
  return {
    offerId: json.text('offerId'),
    description: json.maybe('description', json.text) ?? '',
    people: json.flag('people'),
    sponsored: json.flag('sponsored'),
    network: json.text('network'),
    programId: json.text('programId'),
    payee: json.text('payee'),
    operator: json.text('operator'),
    token: token(json.inner('token')),
    price: json.amount('price'),
    suggestedDeposit: json.amount('suggestedDeposit'),
    minimumDeposit: json.amount('minimumDeposit'),
    maximumDeposit: json.amount('maximumDeposit'),
    presets: json.list('presets', (item) => members(item).amount('amount')),
    durationSeconds: json.maybe('durationSeconds', json.count),
    gracePeriodSeconds: json.count('gracePeriodSeconds'),
    idleTimeoutSeconds: json.maybe('idleTimeoutSeconds', json.count),
    maxFreeAnswers: json.maybe('maxFreeAnswers', json.count) ?? 0,
    sla: json.has('slaTerms') ? sla(json.inner('slaTerms')) : null,
    slaHash: json.text('slaHash'),
    routes: json.list('routes', String),
    ask: json.has('ask') ? askRule(json.inner('ask'), (value as { ask: { body?: unknown } }).ask.body) : null,
  };
}

/** What a wallet lacks, of the problem that says so. */
export function readShortage(value: unknown): Shortage {
  const json = members(value);
  const missing = json.list('missing', String);
  const lack = (name: string, units: string): Lack | null =>
    missing.includes(name) ? { held: json.amount(`${units}Held`), needed: json.amount(`${units}Needed`) } : null;
  return { tokens: lack('tokens', 'tokens'), lamports: lack('sol', 'lamports') };
}

export function readService(value: unknown): Service {
  const json = members(value);
  const people = json.inner('people');
  const free = people.has('freeTier') ? people.inner('freeTier') : null;
  return {
    realm: json.text('realm'),
    network: json.text('network'),
    genesisHash: json.maybe('genesisHash', json.text),
    solanaPay: people.flag('solanaPay'),
    solanaPayReason: people.maybe('solanaPayReason', people.text),
    freeTier: free && { asksPerDay: free.count('asksPerDay'), routes: free.list('routes', String) },
    responders: people.list('responders', (item) => ({
      name: members(item).text('name'),
      offer: members(item).text('offer'),
    })),
    offers: json.list('offers', readOffer),
  };
}

export function readInvoice(value: unknown): Invoice {
  const json = members(value);
  return {
    invoiceId: json.text('invoiceId'),
    kind: json.oneOf('kind', ['open', 'topup']),
    state: json.oneOf('state', INVOICE_STATES),
    detail: json.maybe('detail', json.text) ?? '',
    offer: json.text('offer'),
    amount: json.amount('amount'),
    expiresAt: json.count('expiresAt'),
    payer: json.maybe('payer', json.text),
    sessionId: json.maybe('sessionId', json.text),
    transaction: json.maybe('transaction', json.text),
    submit: json.maybe('submit', (name) => json.oneOf(name, ['wallet', 'post'])) ?? 'wallet',
    received: json.maybe('received', json.amount),
    solanaPayUrl: json.maybe('solanaPayUrl', json.text),
    solanaPayReason: json.maybe('solanaPayReason', json.text),
  };
}

export function readMade(value: unknown): Made {
  return { invoice: readInvoice(value), token: members(value).text('token') };
}

export function readSession(value: unknown): Session {
  const json = members(value);
  return {
    sessionId: json.text('sessionId'),
    offerId: json.text('offerId'),
    payer: json.text('agent'),
    state: json.oneOf('state', SESSION_STATES),
    deposit: json.amount('deposit'),
    remaining: json.amount('remaining'),
    spent: json.amount('spent'),
    price: json.amount('pricePerRequest'),
    requestsMade: json.count('requestsMade'),
    requestsLeft: json.maybe('requestsLeft', json.amount) ?? 0n,
    expiresAt: json.maybe('expiresAt', json.count),
    settled: json.maybe('settled', json.amount),
    refund: json.maybe('refund', json.amount),
    settlementSignature: json.maybe('settlementSignature', json.text),
  };
}

export function readAnswer(value: unknown): Answer {
  const json = members(value);
  const response = json.inner('response');
  const charge = json.inner('charge');
  const headers = response.has('headers') ? response.inner('headers') : null;
  const kind = headers?.maybe('content-type', headers.text) ?? 'application/octet-stream';
  return {
    status: response.count('status'),
    body: response.maybe('body', response.text),
    binary: response.maybe('encoding', response.text) === 'base64' ? kind : null,
    charge: {
      kind: charge.text('kind'),
      amount: charge.maybe('amount', charge.amount) ?? 0n,
      term: charge.maybe('term', charge.text),
    },
    session: json.has('session') ? readSession(value && (value as { session: unknown }).session) : null,
  };
}

export function readPreview(value: unknown): Preview {
  const json = members(value);
  return {
    coveredBy: json.oneOf('coveredBy', ['session', 'free', 'payment', 'nothing']),
    price: json.amount('price'),
    freeLeft: json.maybe('freeLeft', json.count),
    detail: json.maybe('detail', json.text) ?? '',
  };
}

export function readClosePreview(value: unknown): ClosePreview {
  const json = members(value);
  return {
    toProvider: json.amount('toProvider'),
    toPayer: json.amount('toPayer'),
    payer: json.text('payer'),
    provider: json.text('provider'),
  };
}

export function readChallenge(value: unknown): Challenge {
  const json = members(value);
  return { text: json.text('text'), nonce: json.text('nonce'), expiresAt: json.count('expiresAt') };
}
