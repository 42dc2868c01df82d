import { expect, it } from 'vitest';
import { ApiError } from '../../src/api/client';
import { clock, grouped, poorText, problemText, slaTexts, span, TEXTS } from '../../src/texts/en';

it.each([
  [0, '0:00'],
  [-5, '0:00'],
  [59, '0:59'],
  [3599, '59:59'],
  [3600, '1 h 0 min'],
  [86_399, '23 h 59 min'],
  [172_800, '2 days'],
  [259_199, '2 days'],
])('%d seconds left show as %s, never as more', (seconds, shown) => {
  expect(clock(seconds)).toBe(shown);
});

it.each([
  [60, '1 minute'],
  [900, '15 minutes'],
  [5400, '90 minutes'],
  [86_400, '1 day'],
  [61, '61 seconds'],
])('%d seconds are %s', (seconds, shown) => {
  expect(span(seconds)).toBe(shown);
});

it('sets thousands apart', () => {
  expect(grouped(125_000_000n)).toBe('125\u202f000\u202f000');
  expect(grouped(999n)).toBe('999');
});

it('says what a wallet lacks, and of what, in numbers', () => {
  const tokens = TEXTS.poorTokens('0.5 USDC', '1.0 USDC');
  const sol = TEXTS.poorSol('0.001 SOL', '0.007 SOL');
  expect(poorText(['0.5 USDC', '1.0 USDC'], null)).toBe(`${tokens} ${TEXTS.nothingPaid}`);
  expect(poorText(null, ['0.001 SOL', '0.007 SOL'])).toBe(`${sol} ${TEXTS.nothingPaid}`);
  expect(poorText(['0.5 USDC', '1.0 USDC'], ['0.001 SOL', '0.007 SOL'])).toBe(`${tokens} ${sol} ${TEXTS.nothingPaid}`);
});

it('says a problem without a sentence of its own in the provider’s words', () => {
  expect(problemText(new ApiError('refused', 'deposit-failed', 'It fails on chain.'))).toBe('It fails on chain.');
});

it('promises nothing where there are no terms', () => {
  expect(slaTexts(null, 0)).toEqual(['No promises: every answer is charged.']);
  expect(slaTexts({ maxLatencyMs: 1500, acceptedStatuses: ['2xx'], minBodyBytes: 0 }, 0)).toEqual([
    'An answer within 1500 ms.',
    'An answer that worked (HTTP status 2xx).',
    'An answer that breaks a promise costs nothing.',
  ]);
});
