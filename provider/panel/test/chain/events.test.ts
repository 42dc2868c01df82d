import { address } from '@solana/kit';
import { expect, test } from 'vitest';
import { refundIn } from '../../src/chain/events';
import { SESSION_PROGRAM, TOKEN_PROGRAM } from '../../src/chain/programs';

// Logged by the program on a local network, where 1,000,000 base units were withdrawn.
const session = address('6pL7yVABJb5juaFrdX9F6MBYhwpZrZEJLWhk1PQJepyU');
const data = 'Program data: SIxh141OBHBWalobfTcmRxHjo5sRo6B1I8kOA9IzKHbu351EL/iOHwAAAAAAAAAAQEIPAAAAAAA=';
const enter = (program: string, depth = 1) => `Program ${program} invoke [${depth}]`;
const leave = (program: string) => `Program ${program} success`;

test('a withdrawal says what it paid back', () => {
  const transfer = [enter(TOKEN_PROGRAM, 2), 'Program log: Instruction: Transfer', leave(TOKEN_PROGRAM)];
  const logs = [enter(SESSION_PROGRAM), ...transfer, data, leave(SESSION_PROGRAM)];
  expect(refundIn(logs, session)).toBe(1_000_000n);
  expect(refundIn(logs, TOKEN_PROGRAM)).toBeNull();
});

test.each([
  ['another program', [enter(TOKEN_PROGRAM), data, leave(TOKEN_PROGRAM)]],
  ['another program that the session program called', [enter(SESSION_PROGRAM), enter(TOKEN_PROGRAM, 2), data]],
  ['another program after it', [enter(SESSION_PROGRAM), leave(SESSION_PROGRAM), enter(TOKEN_PROGRAM), data]],
  ['nobody', [data]],
  ['a cut line', [enter(SESSION_PROGRAM), data.slice(0, -8)]],
  ['nonsense', [enter(SESSION_PROGRAM), 'Program data: ???', 'Program data: ']],
])('nothing is believed of %s', (_, logs) => {
  expect(refundIn(logs, session)).toBeNull();
});
