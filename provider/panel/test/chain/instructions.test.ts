import { AccountRole, address, type Instruction } from '@solana/kit';
import { describe, expect, test } from 'vitest';
import { deriveAta, deriveSession, deriveVault, parseAddress } from '../../src/chain/addresses';
import { createAta, requestClose, withdraw } from '../../src/chain/instructions';
import { ATA_PROGRAM, SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '../../src/chain/programs';
import { addresses, instructions, session, toHex } from '../vectors';

function plain(instruction: Instruction): unknown {
  const signers: AccountRole[] = [AccountRole.READONLY_SIGNER, AccountRole.WRITABLE_SIGNER];
  const writable: AccountRole[] = [AccountRole.WRITABLE, AccountRole.WRITABLE_SIGNER];
  return {
    program: instruction.programAddress,
    data: toHex(instruction.data ?? []),
    accounts: instruction.accounts?.map(({ address: key, role }) => ({
      key,
      signer: signers.includes(role),
      writable: writable.includes(role),
    })),
  };
}

const home = address(addresses[1]?.session ?? '');
const fields = session.fields;
const payer = address(fields.payer);

test.each(addresses)('addresses derive as published for $program', async (told) => {
  const program = address(told.program);
  const seeds = {
    payer: address(told.payer),
    payee: address(told.payee),
    mint: address(told.mint),
    authorizedSigner: address(told.authorizedSigner),
    salt: BigInt(told.salt),
    openSlot: BigInt(told.openSlot),
  };
  const derived = await deriveSession(seeds, program);
  expect(derived).toEqual([told.session, told.sessionBump]);
  expect(await deriveVault(derived[0], program)).toBe(told.vault);
  expect(await deriveAta(derived[0], seeds.mint, TOKEN_PROGRAM)).toBe(told.escrowAta);
  expect(await deriveAta(derived[0], seeds.mint, TOKEN_2022_PROGRAM)).toBe(told.escrowAtaToken2022);
});

describe('instructions are the published ones', () => {
  test('request_close', () => {
    expect(plain(requestClose({ address: home, payer }))).toEqual(instructions.request_close);
  });

  test('withdraw', async () => {
    const closing = {
      address: home,
      rentPayer: address(fields.rent_payer),
      escrow: address(fields.escrow),
      mint: address(fields.mint),
    };
    const token = await deriveAta(payer, closing.mint, TOKEN_PROGRAM);
    expect(plain(withdraw(closing, token, TOKEN_PROGRAM))).toEqual(instructions.withdraw);
  });
});

test('a token account is made at the expense of its owner, unless it exists', async () => {
  const mint = address(fields.mint);
  const read = (key: string) => ({ key, signer: false, writable: false });
  expect(plain(await createAta(payer, mint, TOKEN_PROGRAM))).toEqual({
    program: ATA_PROGRAM,
    data: '01',
    accounts: [
      { key: payer, signer: true, writable: true },
      { key: await deriveAta(payer, mint, TOKEN_PROGRAM), signer: false, writable: true },
      ...[payer, mint, SYSTEM_PROGRAM, TOKEN_PROGRAM].map(read),
    ],
  });
});

test('an address is what decodes to 32 bytes', () => {
  expect(parseAddress(` ${payer}\n`)).toBe(payer);
  for (const bad of ['', 'hello', `${payer}1`, '0'.repeat(44), '<script>']) expect(parseAddress(bad)).toBeNull();
});
