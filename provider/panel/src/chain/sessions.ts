/** Finding a payer's sessions with nothing but a node. */

import type { Address } from '@solana/kit';
import { ChainError } from './errors';
import { SESSION_PROGRAM } from './programs';
import type { Rpc } from './rpc';
import { PAYER_OFFSET, readSession, SESSION_LENGTH, type Session } from './session';

/**
 * All sessions of `payer` that are still on the chain, the oldest first. What the node calls one and is none, or another
 * payer's, is left out. ChainError `unsupported` from nodes that search no programs.
 */
export async function sessionsOf(rpc: Rpc, payer: Address, program = SESSION_PROGRAM): Promise<Session[]> {
  const found = await rpc.programAccounts(program, SESSION_LENGTH, PAYER_OFFSET, payer);
  const read = await Promise.all(found.map((account) => readSession(account, program).catch(orForeign)));
  const own = read.filter((session) => session?.payer === payer) as Session[];
  return own.sort((one, other) => Number(one.openedAt - other.openedAt));
}

/** The session at `address` as it is now; null where none is any more. */
export async function sessionAt(rpc: Rpc, address: Address, program = SESSION_PROGRAM): Promise<Session | null> {
  const account = await rpc.account(address);
  return account && readSession(account, program);
}

function orForeign(error: unknown): null {
  if (error instanceof ChainError && error.kind === 'foreign') return null;
  throw error;
}
