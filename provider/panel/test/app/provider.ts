/** A provider to test the page against: invoices and one session, kept in memory, answering as docs/people-api.md says. */

import { AccountRole, type Address, address, getBase58Decoder, getBase64Decoder } from '@solana/kit';
import { buildTransaction } from '../../src/chain/transactions';
import { INVOICE, LIVE, OFFER, SERVICE } from '../made';
import { instructions, session } from '../vectors';

const fields = session.fields;
const { accounts, data, program } = instructions.open_with_terms;
const keys: Address[] = accounts.map(({ key }, at) => address(at === 3 ? fields.authorized_signer : key));
export const PAYER = fields.payer;
export const SESSION = String(keys[6]);

/** The published opening, unsigned; in base64 as the provider sends it. */
function opening(): string {
  const metas = keys.map((key, at) => ({
    address: key,
    role: ((accounts[at]?.signer ? 2 : 0) | (accounts[at]?.writable ? 1 : 0)) as AccountRole,
  }));
  const bytes = Uint8Array.from(data.match(/../g) ?? [], (hex) => Number.parseInt(hex, 16));
  const life = { blockhash: getBase58Decoder().decode(new Uint8Array(32).fill(5)), lastValidBlockHeight: 1n };
  const open = { programAddress: address(program), accounts: metas, data: bytes };
  return getBase64Decoder().decode(buildTransaction(address(PAYER), [open], life));
}

const OFFERED = {
  ...OFFER,
  programId: program,
  payee: fields.payee,
  operator: fields.authorized_signer,
  token: { ...OFFER.token, mint: fields.mint, symbol: null, decimals: Number(fields.decimals) },
  price: String(fields.price_per_unit),
  gracePeriodSeconds: Number(fields.grace_period),
  slaHash: fields.sla_hash,
};
/** When the published session was offered: it expires one duration later. */
export const NOW = Number(fields.expires_at) - OFFER.durationSeconds;
export const AMOUNT = BigInt(fields.deposit);

export class Provider {
  readonly calls: string[] = [];
  up = true;
  invoice: Record<string, unknown> | null = null;
  session: Record<string, unknown> | null = null;
  answers = new Map<string, unknown>();
  token = 'token-1';
  /** Asks that are given away; null where none are. */
  freeLeft: number | null = null;
  /** What the answer to a payment waits for, which lands meanwhile. */
  slow: Promise<void> | null = null;

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

  /** What the page asks instead of the network. */
  readonly fetch = async (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const call = `${init.method} ${String(url).replace('/api', '')}`;
    if (call === 'GET /events') return this.silence(init.signal ?? null);
    if (!this.up) throw new TypeError('connection refused');
    this.calls.push(call);
    const [answer, held] = [this.answer(call, init), this.held.get(call)];
    if (call.endsWith('/transaction')) await this.slow;
    await held;
    return answer;
  };

  /** How often a call was made. */
  count(call: string): number {
    return this.calls.filter((one) => one === call).length;
  }

  private answer(call: string, init: RequestInit): Response {
    const headers = new Headers(init.headers);
    if (call === 'GET /offers') return Response.json({ ...SERVICE, offers: [OFFERED] });
    if (call === 'POST /ask/preview') {
      if (this.freeLeft === null) {
        return Response.json({ coveredBy: 'payment', price: '8000', detail: 'Fund a session first.' });
      }
      return Response.json({ coveredBy: 'free', price: '0', freeLeft: this.freeLeft, detail: 'Free.' });
    }
    if (call === 'POST /sessions') {
      this.invoice = { ...INVOICE, amount: String(AMOUNT), expiresAt: NOW + 300 };
      return Response.json({ ...this.invoice, token: this.token }, { status: 201 });
    }
    if (headers.get('authorization') !== `Bearer ${this.token}`) return problem('token-invalid', 401);
    if (call.startsWith('POST /invoices/invoice-1/payer')) {
      Object.assign(this.invoice ?? {}, { payer: PAYER, sessionId: SESSION, transaction: opening() });
    }
    if (call === 'POST /invoices/invoice-1/transaction') this.land();
    if (call.includes('/invoices/')) {
      return this.invoice ? Response.json(this.invoice) : problem('invoice-unknown', 404);
    }
    if (!this.session) return problem('token-invalid', 401);
    if (call.startsWith('GET') && call.endsWith('/close')) {
      return Response.json({ toPayer: String(AMOUNT), toProvider: '0', payer: PAYER, provider: fields.payee });
    }
    if (call.endsWith('/topup')) {
      this.invoice = { ...INVOICE, kind: 'topup', amount: String(AMOUNT), sessionId: SESSION, expiresAt: NOW + 300 };
      return Response.json({ ...this.invoice, token: this.token }, { status: 201 });
    }
    if (call.endsWith('/request')) return this.serve(headers.get('idempotency-key') ?? '');
    return Response.json(this.session);
  }

  /** The deposit lands, whoever sent it. */
  land(): void {
    Object.assign(this.invoice ?? {}, { state: 'active' });
    this.session = { ...LIVE, sessionId: SESSION, agent: PAYER, deposit: String(AMOUNT), expiresAt: NOW + 86_400 };
  }

  private serve(key: string): Response {
    const replayed = this.answers.has(key);
    if (!replayed && this.session) {
      Object.assign(this.session, { requestsMade: Number(this.session.requestsMade) + 1, spent: '8000' });
      this.answers.set(key, true);
    }
    return Response.json({
      response: { status: 200, headers: {}, body: '{"answer":"Yes."}', encoding: 'utf-8' },
      charge: { kind: 'charged', amount: '8000', replayed },
      session: this.session,
    });
  }

  private silence(signal: AbortSignal | null): Promise<Response> {
    return new Promise((_, refuse) => signal?.addEventListener('abort', () => refuse(new Error('aborted'))));
  }
}

function problem(name: string, status: number): Response {
  return Response.json({ type: `urn:retainer:problem:${name}`, detail: name }, { status });
}
