import { address } from '@solana/kit';
import { describe, expect, test } from 'vitest';
import { SESSION_PROGRAM, TOKEN_PROGRAM } from '../../src/chain/programs';
import { type Account, deadline, readSession, refundable, SESSION_LENGTH, type Session } from '../../src/chain/session';
import { addresses, fromHex, toHex, session as vector } from '../vectors';

const home = address(addresses[1]?.session ?? '');
const stored = fromHex(vector.bytes);

function account(change: Partial<Account> = {}): Account {
  return { address: home, owner: SESSION_PROGRAM, lamports: 1, data: stored, ...change };
}

function changed(offset: number, ...bytes: number[]): Account {
  const data = Uint8Array.from(stored);
  data.set(bytes, offset);
  return account({ data });
}

describe('the session account', () => {
  test('reads as the published vector says', async () => {
    const read = await readSession(account());
    const told = vector.fields;
    expect(read).toMatchObject({
      status: 'open',
      escrowKind: 'vault',
      decimals: Number(told.decimals),
      payer: told.payer,
      payee: told.payee,
      operator: told.operator,
      authorizedSigner: told.authorized_signer,
      rentPayer: told.rent_payer,
      mint: told.mint,
      escrow: told.escrow,
      salt: BigInt(told.salt),
      openSlot: BigInt(told.open_slot),
      deposit: BigInt(told.deposit),
      settled: BigInt(told.settled),
      chargedUnits: BigInt(told.charged_units),
      gracePeriod: Number(told.grace_period),
      openedAt: BigInt(told.opened_at),
      pricePerUnit: BigInt(told.price_per_unit),
      expiresAt: BigInt(told.expires_at),
    });
    expect(toHex(read.slaHash)).toBe(told.sla_hash);
    expect(refundable(read)).toBe(920_000n);
  });

  test.each([
    ['another owner', account({ owner: TOKEN_PROGRAM }), /belongs to/],
    ['nothing', account({ data: new Uint8Array() }), /is no session/],
    ['one byte too many', account({ data: Uint8Array.of(...stored, 0) }), /is no session/],
    ['another discriminator', changed(0, 0), /is no session/],
    ['another version', changed(8, 2), /does not know/],
    ['no status', changed(10, 0), /does not know/],
    ['another escrow', changed(11, 2), /does not know/],
    ['a reserved byte', changed(13, 1), /does not know/],
    ['more settled than deposited', changed(264, 255, 255, 255), /does not know/],
    ['a payer whose session lives elsewhere', changed(16, 1), /holds the session of/],
    ['another bump', changed(9, 253), /holds the session of/],
    ['another address', account({ address: TOKEN_PROGRAM }), /holds the session of/],
  ])('is refused with %s', async (_, bad, reason) => {
    await expect(readSession(bad)).rejects.toThrow(reason);
    await expect(readSession(bad)).rejects.toMatchObject({ kind: 'foreign' });
  });

  test('has the length that nodes are asked to search by', () => {
    expect(stored.length).toBe(SESSION_LENGTH);
  });
});

describe('the deadline', () => {
  const session = { gracePeriod: 900, closureStartedAt: 5n, expiresAt: 0n } as Session;

  test.each([
    ['nothing sets it', { status: 'open' }, null],
    ['closing', { status: 'closing' }, 905n],
    ['expiring', { status: 'open', expiresAt: 100n }, 1000n],
    ['closing before it expires', { status: 'closing', expiresAt: 100n }, 905n],
    ['expired before it was closed', { status: 'closing', closureStartedAt: 200n, expiresAt: 100n }, 1000n],
  ] as const)('when %s', (_, change, expected) => {
    expect(deadline({ ...session, ...change })).toBe(expected);
  });
});
