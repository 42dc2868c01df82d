import { expect, test } from 'vitest';
import idl from '../../../../programs/session_escrow/artifacts/session_escrow.json';
import amounts from '../../../../tests/vectors/amounts.json';
import { formatAmount, tokenName } from '../../src/chain/amounts';
import { PROGRAM_ERRORS, programError } from '../../src/chain/errors';
import { countdown } from '../../src/exit/stage';
import { clusterOf } from '../../src/wallet/clusters';
import { parseSecret } from '../../src/wallet/local';

test.each([
  [0n, '0:00'],
  [59n, '0:59'],
  [899n, '14:59'],
  [3_600n, '1:00:00'],
  [86_399n, '23:59:59'],
  [86_400n, '1 day 0:00:00'],
  [2_592_000n, '30 days 0:00:00'],
])('%d seconds read %s', (seconds, text) => {
  expect(countdown(seconds)).toBe(text);
});

test.each(amounts.shown)('$units base units of $decimals decimals read $text', ({ units, decimals, text }) => {
  expect(formatAmount(BigInt(units), decimals)).toBe(text);
});

test('a token that nobody knows is its mint', () => {
  expect(tokenName('EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v')).toBe('USDC');
  expect(tokenName('reUf7A1fqcJL4gQQmEbTReMuidTJnUF48pJUddZqnZT')).toBe('reUf…qnZT');
});

test("errors have the numbers of the program's IDL", () => {
  for (const [code, name] of Object.entries(PROGRAM_ERRORS)) {
    expect(idl.errors).toContainEqual(expect.objectContaining({ code: Number(code), name }));
  }
});

test('an error of another program has no name here', () => {
  expect(programError(6155)).toBe('DeadlineNotReached');
  expect(programError(1)).toBeNull();
  expect(programError(undefined)).toBeNull();
});

test('a secret key is hex or a keypair file', () => {
  const seed = new Uint8Array(32).fill(171);
  expect(parseSecret(` ${'ab'.repeat(32)}\n`)).toEqual(seed);
  expect(parseSecret(JSON.stringify([...seed, ...new Uint8Array(32)]))).toEqual(seed);
  for (const bad of ['', 'ab', '[1,2]', `[${'256,'.repeat(63)}1]`, 'zz'.repeat(32)])
    expect(parseSecret(bad)).toBeNull();
});

test('a chain that nobody knows is a local one', () => {
  expect(clusterOf('anything')).toBe('solana:localnet');
});
