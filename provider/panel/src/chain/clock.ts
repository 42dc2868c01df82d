/** The chain's own time, which decides when a deadline is reached; this device's clock may be wrong. */

import { getI64Decoder, getU64Decoder } from '@solana/kit';
import { ChainError } from './errors';
import { CLOCK_SYSVAR } from './programs';
import type { Rpc } from './rpc';

/** `time` in Unix seconds. */
export interface ChainTime {
  readonly slot: bigint;
  readonly time: bigint;
}

const TIME_OFFSET = 32;
const CLOCK_LENGTH = 40;

export async function chainTime(rpc: Rpc): Promise<ChainTime> {
  const account = await rpc.account(CLOCK_SYSVAR);
  if (account?.data.length !== CLOCK_LENGTH) throw new ChainError('garbage', `${rpc.url} has no clock`);
  return { slot: getU64Decoder().decode(account.data), time: getI64Decoder().decode(account.data, TIME_OFFSET) };
}

/** What time passes by on this device, and how to wait; injected, so that tests wait for nothing. */
export interface Timer {
  /** Milliseconds that only ever grow. */
  now(): number;
  sleep(milliseconds: number): Promise<void>;
}

export const deviceTimer: Timer = {
  now: () => performance.now(),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};
