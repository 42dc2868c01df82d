/** What asking a wallet can end in. A refusal is an answer, not an error. */

export type Outcome<Value> =
  | { readonly kind: 'done'; readonly value: Value }
  /** Its owner said no. */
  | { readonly kind: 'refused' }
  /** It wants its password first. */
  | { readonly kind: 'locked' }
  /** The account is not on the cluster that the page works with. */
  | { readonly kind: 'wrong-network' }
  /** The wallet cannot do that. */
  | { readonly kind: 'unsupported'; readonly feature: string }
  /** Something else, in the wallet's own words. */
  | { readonly kind: 'failed'; readonly reason: string };

// EIP-1193's number, which Solana's wallets use as well; some have only words.
const USER_REJECTED = 4001;
const REJECTED = /\b(reject|cancel|denied|decline|dismiss|closed by user)/i;
const LOCKED = /\b(un)?lock(ed)?\b/i;
const LONGEST_REASON = 200;

/** Runs a wallet's call; whatever it throws becomes an outcome. */
export async function outcomeOf<Value>(call: () => Promise<Outcome<Value>>): Promise<Outcome<Value>> {
  try {
    return await call();
  } catch (error) {
    const { code, message } = typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : {};
    const reason = String(message ?? error).slice(0, LONGEST_REASON);
    if (code === USER_REJECTED || REJECTED.test(reason)) return { kind: 'refused' };
    return LOCKED.test(reason) ? { kind: 'locked' } : { kind: 'failed', reason };
  }
}
