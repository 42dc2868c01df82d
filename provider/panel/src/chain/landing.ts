/** Sending a signed transaction and following it until nothing can take it back. */

import type { Timer } from './clock';
import { ChainError } from './errors';
import { customCode, type Commitment, type Lifetime, type Rpc } from './rpc';

/** What became of a transaction. */
export type Landing =
  | { readonly kind: 'landed'; readonly signature: string }
  /** It is on the chain and did nothing but cost its fee. */
  | { readonly kind: 'failed'; readonly signature: string; readonly error: ChainError }
  /** The node would not take it: nothing happened. */
  | { readonly kind: 'refused'; readonly error: ChainError }
  /** Its time is over and the chain does not have it: nothing happened. */
  | { readonly kind: 'expired'; readonly signature: string }
  /** Nobody could say so far; it may still land. */
  | { readonly kind: 'unknown'; readonly signature: string };

const POLL_MS = 1_000;
const RESEND_EVERY = 3;
const GIVE_UP_MS = 180_000;

/** Send it, again and again, since nodes lose transactions, until it is final or dead. */
export async function land(rpc: Rpc, transaction: Uint8Array, life: Lifetime, timer: Timer): Promise<Landing> {
  let signature: string;
  try {
    signature = await rpc.send(transaction);
  } catch (error) {
    return { kind: 'refused', error: chainError(error) };
  }
  return follow(rpc, signature, life, timer, () => rpc.send(transaction));
}

/** Follow a transaction that was sent; `resend` is called while the chain does not have it. */
export async function follow(
  rpc: Rpc,
  signature: string,
  life: Lifetime,
  timer: Timer,
  resend: () => Promise<unknown> = () => Promise.resolve(),
  until: Commitment = 'finalized',
): Promise<Landing> {
  const giveUpAt = timer.now() + GIVE_UP_MS;
  for (let round = 1; timer.now() < giveUpAt; round++) {
    const seen = await look(rpc, signature, life).catch(orLater);
    if (seen === 'dead') return { kind: 'expired', signature };
    if (seen && seen !== 'unseen') {
      if (seen.error !== null && seen.commitment !== 'processed') {
        const error = new ChainError('program', JSON.stringify(seen.error), customCode(seen.error));
        return { kind: 'failed', signature, error };
      }
      if (seen.error === null && (seen.commitment === until || seen.commitment === 'finalized')) {
        return { kind: 'landed', signature };
      }
    }
    // A resent transaction that has landed meanwhile is refused by the node, which says nothing new.
    if (seen === 'unseen' && round % RESEND_EVERY === 0) await resend().catch(() => {});
    await timer.sleep(POLL_MS);
  }
  return { kind: 'unknown', signature };
}

/** The height is read first: what is not there after it was passed never comes. */
async function look(rpc: Rpc, signature: string, life: Lifetime) {
  const height = await rpc.blockHeight();
  return (await rpc.signatureStatus(signature)) ?? (height > life.lastValidBlockHeight ? 'dead' : 'unseen');
}

/** A node that does not answer now may answer later. */
function orLater(error: unknown): null {
  chainError(error);
  return null;
}

function chainError(error: unknown): ChainError {
  if (error instanceof ChainError) return error;
  throw error;
}
