/**
 * Checking a transaction that the provider built, before the wallet is asked to sign it.
 *
 * The page came from the provider's server, and so did the transaction. What a person agreed to is the offer that the
 * page showed: this payer, payee, token, amount and terms. A transaction that opens exactly that session, or adds exactly
 * that amount to it, and contains nothing else, is the only one that reaches the wallet.
 */

import { type Address, getI64Decoder, getU32Decoder, getU64Decoder } from '@solana/kit';
import { canHaveDecimals } from './amounts';
import { deriveAta, deriveSession, deriveVault } from './addresses';
import { OPEN_WITH_TERMS, TOP_UP } from './instructions';
import { COMPUTE_BUDGET_PROGRAM, SYSTEM_PROGRAM } from './programs';
import type { Session } from './session';
import { decodeTransaction, type PlainInstruction, type PlainTransaction } from './transactions';

/** What the page showed. Amounts in base units, times in seconds. */
export interface OfferedSession {
  readonly program: Address;
  readonly payer: Address;
  readonly payee: Address;
  readonly operator: Address;
  readonly mint: Address;
  readonly tokenProgram: Address;
  /** With which the page turned `amount` into what the person read. */
  readonly decimals: number;
  readonly amount: bigint;
  readonly pricePerUnit: bigint;
  readonly gracePeriod: number;
  /** Unix seconds, within ten minutes; null for a session that never expires. */
  readonly expiresAt: number | null;
  readonly slaHash: Uint8Array;
}

/** Why a transaction must not be signed; each has a sentence in the texts. */
export type Refusal =
  | 'malformed'
  | 'other-signers'
  | 'other-instructions'
  | 'other-program'
  | 'other-accounts'
  | 'other-amount'
  | 'other-terms'
  | 'fee-too-high';

/** `sponsored`: somebody else pays the network fee. */
export type Checked = { readonly ok: true; readonly session: Address; readonly sponsored: boolean } | Refused;
type Refused = { readonly ok: false; readonly refusal: Refusal };

/** A priority fee above this (0.0001 SOL) is no price for haste any more. */
export const MAX_PRIORITY_LAMPORTS = 100_000n;
const MAX_UNITS = 1_400_000n;
const DEFAULT_UNITS = 200_000n;
const EXPIRY_SLACK = 600n;
const OPEN_LENGTH = 78;
const TOP_UP_LENGTH = 9;
const u32 = getU32Decoder();
const u64 = getU64Decoder();
const i64 = getI64Decoder();

const refuse = (refusal: Refusal): Refused => ({ ok: false, refusal });

/** Whether a transaction opens exactly the offered session and does nothing else. */
export async function checkOpening(bytes: Uint8Array, offered: OfferedSession): Promise<Checked> {
  const alone = onlyInstruction(bytes, offered.payer);
  if (!alone.ok) return alone;
  const { instruction, transaction } = alone;
  const { data } = instruction;
  if (instruction.program !== offered.program) return refuse('other-program');
  if (data.length !== OPEN_LENGTH || data[0] !== OPEN_WITH_TERMS) return refuse('other-instructions');
  const { payer, payee, operator, mint, tokenProgram } = offered;
  const seeds = {
    payer,
    payee,
    mint,
    authorizedSigner: operator,
    salt: u64.decode(data, 1),
    openSlot: u64.decode(data, 21),
  };
  const [session] = await deriveSession(seeds, offered.program);
  // Rent comes back to whoever paid it, so that it must be one of the two who pay for this transaction.
  const rentPayer = instruction.accounts[1] === transaction.feePayer ? transaction.feePayer : payer;
  const accounts = [
    ...[payer, rentPayer, payee, operator, mint, operator, session],
    await deriveAta(payer, mint, tokenProgram),
    await deriveVault(session, offered.program),
    ...[tokenProgram, SYSTEM_PROGRAM],
  ];
  if (!same(instruction.accounts, accounts)) return refuse('other-accounts');
  if (u64.decode(data, 9) !== offered.amount || !canHaveDecimals(mint, offered.decimals)) return refuse('other-amount');
  const kept =
    u32.decode(data, 17) === offered.gracePeriod &&
    u64.decode(data, 29) === offered.pricePerUnit &&
    isNear(i64.decode(data, 37), offered.expiresAt) &&
    same(data.subarray(45, 77), offered.slaHash);
  return kept ? { ok: true, session, sponsored: transaction.feePayer !== payer } : refuse('other-terms');
}

/** Whether a transaction adds exactly `amount` base units to the payer's own session and does nothing else. */
export async function checkTopUp(
  bytes: Uint8Array,
  session: Pick<Session, 'address' | 'payer' | 'escrow' | 'mint'>,
  amount: bigint,
  tokenProgram: Address,
  program: Address,
): Promise<Checked> {
  const { payer, escrow, mint, address } = session;
  const alone = onlyInstruction(bytes, payer);
  if (!alone.ok) return alone;
  const { instruction, transaction } = alone;
  if (instruction.program !== program) return refuse('other-program');
  if (instruction.data.length !== TOP_UP_LENGTH || instruction.data[0] !== TOP_UP) return refuse('other-instructions');
  const accounts = [payer, address, await deriveAta(payer, mint, tokenProgram), escrow, mint, tokenProgram];
  if (!same(instruction.accounts, accounts)) return refuse('other-accounts');
  if (u64.decode(instruction.data, 1) !== amount) return refuse('other-amount');
  return { ok: true, session: address, sponsored: transaction.feePayer !== payer };
}

type Alone = { readonly ok: true; readonly instruction: PlainInstruction; readonly transaction: PlainTransaction };

/** The one instruction beside those that set the fee; nobody but payer and fee payer may sign. */
function onlyInstruction(bytes: Uint8Array, payer: Address): Alone | Refused {
  const transaction = decodeTransaction(bytes);
  if (!transaction) return refuse('malformed');
  const { feePayer, signatures, instructions } = transaction;
  const signers = [...signatures.keys()];
  if (!signers.includes(payer) || signers.some((key) => key !== payer && key !== feePayer))
    return refuse('other-signers');
  const budget = instructions.filter(({ program }) => program === COMPUTE_BUDGET_PROGRAM);
  const [instruction, ...more] = instructions.filter(({ program }) => program !== COMPUTE_BUDGET_PROGRAM);
  if (!instruction || more.length > 0) return refuse('other-instructions');
  const fee = priorityFee(budget);
  if (fee === null) return refuse('other-instructions');
  // A sponsor's fee is the sponsor's business.
  if (feePayer === payer && fee > MAX_PRIORITY_LAMPORTS) return refuse('fee-too-high');
  return { ok: true, instruction, transaction };
}

/** Lamports, at most; null for anything but a limit and a price of compute units, each at most once. */
function priorityFee(budget: readonly PlainInstruction[]): bigint | null {
  let limit: bigint | null = null;
  let price: bigint | null = null;
  for (const { data } of budget) {
    if (data[0] === 2 && data.length === 5 && limit === null) limit = BigInt(u32.decode(data, 1));
    else if (data[0] === 3 && data.length === 9 && price === null) price = u64.decode(data, 1);
    else return null;
  }
  const units = limit ?? DEFAULT_UNITS;
  return ((units < MAX_UNITS ? units : MAX_UNITS) * (price ?? 0n)) / 1_000_000n;
}

function isNear(told: bigint, offered: number | null): boolean {
  if (offered === null || told === 0n) return offered === null && told === 0n;
  const apart = told - BigInt(offered);
  return apart <= EXPIRY_SLACK && -apart <= EXPIRY_SLACK;
}

function same<T>(left: ArrayLike<T>, right: ArrayLike<T>): boolean {
  return left.length === right.length && Array.from(left).every((one, at) => one === right[at]);
}
