/** A session as the chain holds it: 352 bytes, whose fields are the authority on whose money is where. */

import {
  type Address,
  fixDecoderSize,
  getAddressDecoder,
  getBytesDecoder,
  getI64Decoder,
  getStructDecoder,
  getU8Decoder,
  getU32Decoder,
  getU64Decoder,
} from '@solana/kit';
import { deriveSession } from './addresses';
import { ChainError } from './errors';
import { SESSION_PROGRAM } from './programs';

/** The first 8 bytes of the SHA-256 of "account:Session". */
export const SESSION_DISCRIMINATOR = Uint8Array.of(0xf3, 0x51, 0x48, 0x73, 0xd6, 0xbc, 0x48, 0x90);
export const SESSION_LENGTH = 352;
/** Where the payer stands in the account, for nodes that search by it. */
export const PAYER_OFFSET = 16;
/** A closed session keeps its address for so many slots after its `openSlot`. */
export const OPEN_SLOT_WINDOW = 1500n;
const VERSION = 1;

export const STATUS = ['open', 'closing', 'closed'] as const;
export type Status = (typeof STATUS)[number];

/** Amounts in base units, times in Unix seconds, an `expiresAt` of 0 means never. */
export interface Session {
  readonly address: Address;
  readonly bump: number;
  readonly status: Status;
  readonly escrowKind: 'ata' | 'vault';
  readonly decimals: number;
  readonly payer: Address;
  readonly payee: Address;
  readonly operator: Address;
  readonly authorizedSigner: Address;
  readonly rentPayer: Address;
  readonly mint: Address;
  readonly escrow: Address;
  readonly salt: bigint;
  readonly openSlot: bigint;
  readonly deposit: bigint;
  readonly settled: bigint;
  readonly chargedUnits: bigint;
  readonly gracePeriod: number;
  readonly openedAt: bigint;
  readonly closureStartedAt: bigint;
  readonly pricePerUnit: bigint;
  readonly expiresAt: bigint;
  readonly slaHash: Uint8Array;
}

const bytes = (length: number) => fixDecoderSize(getBytesDecoder(), length);
const key = getAddressDecoder();
const u64 = getU64Decoder();
const i64 = getI64Decoder();

const LAYOUT = getStructDecoder([
  ['discriminator', bytes(8)],
  ['version', getU8Decoder()],
  ['bump', getU8Decoder()],
  ['status', getU8Decoder()],
  ['escrowKind', getU8Decoder()],
  ['decimals', getU8Decoder()],
  ['reserved', bytes(3)],
  ['payer', key],
  ['payee', key],
  ['operator', key],
  ['authorizedSigner', key],
  ['rentPayer', key],
  ['mint', key],
  ['escrow', key],
  ['salt', u64],
  ['openSlot', u64],
  ['deposit', u64],
  ['settled', u64],
  ['chargedUnits', u64],
  ['gracePeriod', getU32Decoder()],
  ['reservedToo', bytes(4)],
  ['openedAt', i64],
  ['closureStartedAt', i64],
  ['pricePerUnit', u64],
  ['expiresAt', i64],
  ['slaHash', bytes(32)],
]);

/** An account as a node tells it. */
export interface Account {
  readonly address: Address;
  readonly owner: Address;
  readonly lamports: number;
  readonly data: Uint8Array;
}

/**
 * The session that an account holds. ChainError `foreign` when it belongs to another program, has another layout or
 * version, or does not live where its fields say: a node's word is taken for none of it.
 */
export async function readSession(account: Account, program = SESSION_PROGRAM): Promise<Session> {
  const { address, owner, data } = account;
  if (owner !== program) throw foreign(`${address} belongs to ${owner}, not to the session program`);
  if (data.length !== SESSION_LENGTH || !SESSION_DISCRIMINATOR.every((byte, at) => data[at] === byte)) {
    throw foreign(`${address} is no session`);
  }
  const { discriminator: _, version, reserved, reservedToo, ...fields } = LAYOUT.decode(data);
  const status = STATUS[fields.status - 1];
  const escrowKind = (['ata', 'vault'] as const)[fields.escrowKind];
  const clean = [...reserved, ...reservedToo].every((byte) => byte === 0);
  if (version !== VERSION || !status || !escrowKind || !clean || fields.settled > fields.deposit) {
    throw foreign(`${address} is a session of a version that this page does not know`);
  }
  const session = { ...fields, address, status, escrowKind, slaHash: new Uint8Array(fields.slaHash) };
  const [derived, bump] = await deriveSession(session, program);
  if (derived !== address || bump !== session.bump) throw foreign(`${address} holds the session of ${derived}`);
  return session;
}

/** What a withdrawal at this moment gives back, in base units. */
export function refundable(session: Session): bigint {
  return session.deposit - session.settled;
}

/** From when on nothing more can be settled and the payer may withdraw, in Unix seconds; null while nothing sets it. */
export function deadline(session: Session): bigint | null {
  const grace = BigInt(session.gracePeriod);
  const closing = session.status === 'closing' ? session.closureStartedAt + grace : null;
  const expiring = session.expiresAt === 0n ? null : session.expiresAt + grace;
  if (closing === null || expiring === null) return closing ?? expiring;
  return closing < expiring ? closing : expiring;
}

function foreign(detail: string): ChainError {
  return new ChainError('foreign', detail);
}
