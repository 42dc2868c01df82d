import { describe, expect, it } from 'vitest';
import { Api, type ApiError } from '../../src/api/client';
import { EventParser } from '../../src/api/events';
import { readInvoice, readService, readSession } from '../../src/api/read';
import { INVOICE, LIVE, OFFER, SERVICE } from '../made';

const refusalOf = (call: Promise<unknown>) =>
  call.then(
    () => null,
    (error: ApiError) => error,
  );
const answering = (body: unknown, status = 200) => new Api('/api', async () => Response.json(body, { status }));

describe('reading answers', () => {
  it('takes amounts as whole base units', () => {
    expect(readService(SERVICE).offers[0]).toMatchObject({ price: 8000n, presets: [500_000n, 1_000_000n] });
    expect(readSession({ ...LIVE, remaining: '18446744073709551615' }).remaining).toBe(18_446_744_073_709_551_615n);
  });

  it.each([8000, '8000.0', '-1', '08', '1e3', '', null])('refuses %o as an amount', (price) => {
    expect(() => readService({ ...SERVICE, offers: [{ ...OFFER, price }] })).toThrow(/price/);
  });

  it('refuses states that it does not know', () => {
    expect(() => readInvoice({ ...INVOICE, state: 'maybe' })).toThrow(/state/);
    expect(() => readSession({ ...LIVE, state: 'ODD' })).toThrow(/state/);
  });

  it('takes what may be absent as absent', () => {
    expect(readSession(LIVE)).toMatchObject({ refund: null, settlementSignature: null });
    expect(readService(SERVICE).freeTier).toBeNull();
  });
});

describe('calls', () => {
  it('carry the token in a header and never in the address', async () => {
    const seen: Request[] = [];
    const api = new Api('http://provider/api', async (url, init) => {
      seen.push(new Request(url as string, init));
      return Response.json(LIVE);
    });
    await api.session('9wFF', 'secret');
    expect(seen[0]?.headers.get('authorization')).toBe('Bearer secret');
    expect(seen[0]?.url).toBe('http://provider/api/sessions/9wFF');
  });

  it('tell a refusal by its problem', async () => {
    const body = { type: 'urn:retainer:problem:session-depleted', detail: 'Top up.' };
    const error = await refusalOf(answering(body, 402).service());
    expect(error).toMatchObject({ kind: 'refused', problem: 'session-depleted', message: 'Top up.', status: 402 });
  });

  it('tell a provider that is away', async () => {
    const gone = new Api('/api', () => Promise.reject(new TypeError('connection refused')));
    expect(await refusalOf(gone.service())).toMatchObject({ kind: 'unreachable' });
    expect(await refusalOf(answering({}, 502).service())).toMatchObject({ kind: 'unreachable' });
  });

  it('take no invoice over another amount than was asked for', async () => {
    const made = answering({ ...INVOICE, token: 'secret' }, 201);
    const asked = BigInt(INVOICE.amount);
    expect((await made.fund('standard', asked, null)).invoice.amount).toBe(asked);
    expect(await refusalOf(made.fund('standard', asked - 1n, null))).toMatchObject({ kind: 'garbage' });
    expect(await refusalOf(made.topUp('9wFF', 'secret', asked + 1n))).toMatchObject({ kind: 'garbage' });
  });

  it('tell an answer that is none', async () => {
    expect(await refusalOf(answering({ offers: 'many' }).service())).toMatchObject({ kind: 'garbage' });
  });
});

describe('events', () => {
  it('are found wherever the stream is cut', () => {
    const stream =
      ': alive\n\nid: a\nevent: session\ndata: {"n": 1}\n\nid: b\r\nevent: request\r\ndata: {"n":\r\ndata: 2}\r\n\r\n';
    for (let cut = 0; cut < stream.length; cut++) {
      // A carriage return and its line feed belong together, as they arrive in one write.
      if (stream[cut] === '\n' && stream[cut - 1] === '\r') continue;
      const parser = new EventParser();
      const events = [...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))];
      expect(events).toEqual([
        { id: 'a', event: 'session', data: { n: 1 } },
        { id: 'b', event: 'request', data: { n: 2 } },
      ]);
    }
  });

  it('that are no JSON are left out', () => {
    expect(new EventParser().push('data: {broken\n\ndata: true\n\n')).toEqual([
      { id: null, event: 'message', data: true },
    ]);
  });
});
