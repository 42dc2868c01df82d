/** Transactions as bytes: what a wallet signs, and what it hands back. */

import {
  type Address,
  appendTransactionMessageInstructions,
  type Blockhash,
  compileTransaction,
  createTransactionMessage,
  getBase58Decoder,
  getCompiledTransactionMessageDecoder,
  getCompiledTransactionMessageEncoder,
  getTransactionDecoder,
  getTransactionEncoder,
  type Instruction,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from '@solana/kit';
import type { Lifetime } from './rpc';

/** One instruction with its accounts looked up. */
export interface PlainInstruction {
  readonly program: Address;
  readonly accounts: readonly Address[];
  readonly data: Uint8Array;
}

/** A transaction taken apart; `signatures` has an entry for each required signer, null while it is missing. */
export interface PlainTransaction {
  readonly feePayer: Address;
  readonly signatures: ReadonlyMap<Address, string | null>;
  readonly writable: ReadonlySet<Address>;
  readonly instructions: readonly PlainInstruction[];
}

/** An unsigned transaction, its fee paid by `feePayer`. */
export function buildTransaction(feePayer: Address, instructions: Instruction[], life: Lifetime): Uint8Array {
  const lifetime = { blockhash: life.blockhash as Blockhash, lastValidBlockHeight: life.lastValidBlockHeight };
  const message = pipe(
    createTransactionMessage({ version: 'legacy' }),
    (empty) => setTransactionMessageFeePayer(feePayer, empty),
    (paid) => setTransactionMessageLifetimeUsingBlockhash(lifetime, paid),
    (alive) => appendTransactionMessageInstructions(instructions, alive),
  );
  return new Uint8Array(getTransactionEncoder().encode(compileTransaction(message)));
}

/**
 * Take a transaction apart; null when it is malformed, carries bytes behind its end, or looks up accounts in tables,
 * which would hide what it touches.
 */
export function decodeTransaction(bytes: Uint8Array): PlainTransaction | null {
  try {
    const transaction = getTransactionDecoder().decode(bytes);
    const message = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes);
    if (message.version === 1) return null;
    // The decoders take cut and padded bytes: only what is written again to the same bytes was read whole.
    const again = getCompiledTransactionMessageEncoder().encode(message);
    if (!isSame(again, transaction.messageBytes) || !isSame(getTransactionEncoder().encode(transaction), bytes))
      return null;
    if ('addressTableLookups' in message && message.addressTableLookups?.length) return null;
    const keys = message.staticAccounts;
    const { numSignerAccounts: signers, numReadonlySignerAccounts: readonlySigners } = message.header;
    const lastWritable = keys.length - message.header.numReadonlyNonSignerAccounts;
    const at = (index: number): Address => {
      const key = keys[index];
      if (key === undefined) throw new RangeError('an account index points outside of the transaction');
      return key;
    };
    return {
      feePayer: at(0),
      signatures: new Map(
        Object.entries(transaction.signatures).map(([key, signature]) => [
          key as Address,
          signature ? getBase58Decoder().decode(signature) : null,
        ]),
      ),
      writable: new Set(
        keys.filter((_, index) => index < signers - readonlySigners || (index >= signers && index < lastWritable)),
      ),
      instructions: message.instructions.map((one) => ({
        program: at(one.programAddressIndex),
        accounts: (one.accountIndices ?? []).map(at),
        data: new Uint8Array(one.data ?? []),
      })),
    };
  } catch {
    return null;
  }
}

function isSame(left: ArrayLike<number>, right: ArrayLike<number>): boolean {
  return left.length === right.length && Array.from(left).every((byte, at) => byte === right[at]);
}
