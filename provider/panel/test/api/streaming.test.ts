import { expect, it } from 'vitest';
import { readStream } from '../../src/api/streaming';

const receipt = (metered: object) =>
  Buffer.from(JSON.stringify({ retainer: { metered }, note: 'ü' })).toString('base64url');

function body(...pieces: readonly (string | Error)[]): ReadableStream<Uint8Array> {
  const rest = [...pieces];
  return new ReadableStream({
    pull(controller) {
      const next = rest.shift();
      if (next === undefined) controller.close();
      else if (next instanceof Error) controller.error(next);
      else controller.enqueue(new TextEncoder().encode(next));
    },
  });
}

async function read(...pieces: readonly (string | Error)[]) {
  const heard: string[] = [];
  return { ...(await readStream(body(...pieces), (data) => heard.push(data))), heard };
}

it('gives each event as it comes, and what the receipt says', async () => {
  const end = `event: payment-receipt\ndata: ${receipt({ charged: true, amount: '16000' })}\n\n`;
  const told = await read('data: a\n\nda', 'ta: {"b":1}\n\n', ': ping\n\n', end);
  expect(told).toEqual({
    heard: ['a', '{"b":1}'],
    cut: null,
    charge: { kind: 'charged', amount: 16_000n, term: null },
  });
});

it('says why it was cut, and takes the errors of the service for its own words', async () => {
  const problem = JSON.stringify({ type: 'urn:retainer:problem:units-exhausted', detail: 'All 5 units are used.' });
  const end = `event: payment-receipt\ndata: ${receipt({ charged: false, amount: '0', term: 'max_latency_ms' })}\n\n`;
  const told = await read('event: error\ndata: {"message":"mine"}\n\n', `event: error\ndata: ${problem}\n\n`, end);
  expect(told).toEqual({
    heard: ['{"message":"mine"}'],
    cut: 'All 5 units are used.',
    charge: { kind: 'free', amount: 0n, term: 'max_latency_ms' },
  });
});

it.each([[new Error('connection reset')], ['event: payment-receipt\ndata: nonsense\n\n']])(
  'knows no price when it breaks off (%s)',
  async (end) => {
    expect(await read('data: a\n\n', end)).toMatchObject({ heard: expect.arrayContaining(['a']), charge: null });
  },
);
