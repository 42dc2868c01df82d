/** The payer's two steps out, each from the account as it is now to a transaction that is final. */

import { type Address, address, type Instruction } from '@solana/kit';
import { deriveAta } from '../chain/addresses';
import type { Timer } from '../chain/clock';
import { ChainError } from '../chain/errors';
import { createAta, requestClose, withdraw } from '../chain/instructions';
import { refundIn } from '../chain/events';
import { follow, type Landing, land } from '../chain/landing';
import type { Rpc } from '../chain/rpc';
import { refundable, type Session } from '../chain/session';
import { sessionAt } from '../chain/sessions';
import { readMint, readTokenAccount } from '../chain/tokens';
import { buildTransaction } from '../chain/transactions';
import type { Cluster } from '../wallet/clusters';
import type { Outcome } from '../wallet/outcomes';
import { signToSend } from '../wallet/signing';
import type { Connected } from '../wallet/wallets';

/** What the steps work with. `progress` is told when the wallet has signed. */
export interface Way {
  readonly rpc: Rpc;
  readonly cluster: Cluster;
  readonly connected: Connected;
  readonly timer: Timer;
  readonly progress: () => void;
}

export type Left =
  | Exclude<Outcome<never>, { kind: 'done' }>
  | Exclude<Landing, { kind: 'landed' }>
  /** The chain could not be read. */
  | { readonly kind: 'unread'; readonly error: ChainError }
  /** The wallet has not enough SOL for fee and rent; `lamports` are missing. */
  | { readonly kind: 'no-sol'; readonly lamports: bigint }
  /** All the payer's token accounts for this token are frozen. */
  | { readonly kind: 'frozen' }
  /** The session is not on the chain any more, or not in the state that this step begins with. */
  | { readonly kind: 'changed' };

/** The close is requested. */
export interface Requested {
  readonly kind: 'requested';
  readonly signature: string;
}

/** `amount` base units came back; `proven` when the program itself said so, not only the account before it. */
export interface Returned {
  readonly kind: 'returned';
  readonly signature: string;
  readonly amount: bigint;
  readonly proven: boolean;
}

const FEE_LAMPORTS = 5_000n;
/** Rent of a token account of 170 bytes, the largest that is made here: 128 bytes of overhead at 6,960 lamports each. */
const TOKEN_RENT_LAMPORTS = 2_074_080n;

/** Start the grace period. */
export function leaveByRequest(way: Way, session: Session): Promise<Left | Requested> {
  return readingChain(async () => {
    const now = await sessionAt(way.rpc, session.address);
    if (now?.status !== 'open') return { kind: 'changed' };
    const left = await submit(way, [requestClose(now)], FEE_LAMPORTS);
    return left.kind === 'landed' ? { ...left, kind: 'requested' } : left;
  });
}

/** Take back what is left, from the deadline on. */
export function leaveByWithdrawal(way: Way, session: Session): Promise<Left | Returned> {
  return readingChain(async () => {
    const now = await sessionAt(way.rpc, session.address);
    const mint = await way.rpc.account(session.mint);
    if (!now || !mint) return { kind: 'changed' };
    const { tokenProgram } = readMint(mint);
    const into = await destination(way.rpc, now, tokenProgram);
    if (into === null) return { kind: 'frozen' };
    const made = into.exists ? [] : [await createAta(now.payer, now.mint, tokenProgram)];
    const instructions = [...made, withdraw(now, into.account, tokenProgram)];
    const left = await submit(way, instructions, FEE_LAMPORTS + (into.exists ? 0n : TOKEN_RENT_LAMPORTS));
    if (left.kind !== 'landed') return left;
    const proven = await told(way.rpc, left.signature, now).catch(() => null);
    const amount = proven ?? (now.status === 'closed' ? 0n : refundable(now));
    return { kind: 'returned', signature: left.signature, amount, proven: proven !== null };
  });
}

/** Where the tokens go: the associated account, else another one that the payer has; null when all are frozen. */
async function destination(
  rpc: Rpc,
  session: Session,
  tokenProgram: Address,
): Promise<{ account: Address; exists: boolean } | null> {
  const ata = await deriveAta(session.payer, session.mint, tokenProgram);
  const found = (await rpc.tokenAccounts(session.payer, session.mint)).map(readTokenAccount);
  const own = found.filter(({ owner, mint }) => owner === session.payer && mint === session.mint);
  const usable = own.filter(({ frozen }) => !frozen);
  const best = usable.find((one) => one.address === ata) ?? usable[0];
  if (best) return { account: best.address, exists: true };
  return own.length > 0 ? null : { account: ata, exists: false };
}

/** Build, have it signed, send, follow. The wallet is not asked for what the chain would refuse for lack of SOL. */
async function submit(way: Way, instructions: Instruction[], lamports: bigint): Promise<Left | Landing> {
  const { rpc, connected, cluster, timer } = way;
  const payer = address(connected.account.address);
  const held = BigInt((await rpc.account(payer))?.lamports ?? 0);
  if (held < lamports) return { kind: 'no-sol', lamports: lamports - held };
  const life = await rpc.latestBlockhash();
  const signed = await signToSend(connected, buildTransaction(payer, instructions, life), cluster);
  if (signed.kind !== 'done') return signed;
  way.progress();
  return signed.value.sent
    ? follow(rpc, signed.value.signature, life, timer)
    : land(rpc, signed.value.transaction, life, timer);
}

async function told(rpc: Rpc, signature: string, session: Session): Promise<bigint | null> {
  const logs = await rpc.logs(signature);
  return logs && refundIn(logs, session.address);
}

async function readingChain<Step>(step: () => Promise<Left | Step>): Promise<Left | Step> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof ChainError) return { kind: 'unread', error };
    throw error;
  }
}
