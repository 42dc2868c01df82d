/** Program-derived addresses: where a session, its vault and token accounts must live. */

import { type Address, getAddressEncoder, getProgramDerivedAddress, getU64Encoder, isAddress } from '@solana/kit';
import { ATA_PROGRAM, SESSION_PROGRAM } from './programs';

const key = getAddressEncoder();
const u64 = getU64Encoder();

/** What a session's address commits to. */
export interface SessionSeeds {
  readonly payer: Address;
  readonly payee: Address;
  readonly mint: Address;
  readonly authorizedSigner: Address;
  readonly salt: bigint;
  readonly openSlot: bigint;
}

/** The session's address and bump. */
export async function deriveSession(seeds: SessionSeeds, program = SESSION_PROGRAM): Promise<[Address, number]> {
  const [session, bump] = await getProgramDerivedAddress({
    programAddress: program,
    seeds: [
      'channel',
      key.encode(seeds.payer),
      key.encode(seeds.payee),
      key.encode(seeds.mint),
      key.encode(seeds.authorizedSigner),
      u64.encode(seeds.salt),
      u64.encode(seeds.openSlot),
    ],
  });
  return [session, bump];
}

/** The vault that holds the tokens of a session opened with terms. */
export async function deriveVault(session: Address, program = SESSION_PROGRAM): Promise<Address> {
  const [vault] = await getProgramDerivedAddress({ programAddress: program, seeds: ['vault', key.encode(session)] });
  return vault;
}

/** The associated token account of `owner`; the escrow of a session opened without terms, when it owns it. */
export async function deriveAta(owner: Address, mint: Address, tokenProgram: Address): Promise<Address> {
  const [ata] = await getProgramDerivedAddress({
    programAddress: ATA_PROGRAM,
    seeds: [key.encode(owner), key.encode(tokenProgram), key.encode(mint)],
  });
  return ata;
}

/** What a person typed as an address, or null when it is none. */
export function parseAddress(text: string): Address | null {
  const trimmed = text.trim();
  return isAddress(trimmed) ? trimmed : null;
}
