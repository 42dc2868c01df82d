import {
  AccountRole,
  type Address,
  address,
  getBase58Decoder,
  getBase64Encoder,
  getU32Encoder,
  getU64Encoder,
  type Instruction,
} from '@solana/kit';
import { describe, expect, test } from 'vitest';
import { checkOpening, checkTopUp, MAX_PRIORITY_LAMPORTS, type OfferedSession } from '../../src/chain/check';
import { COMPUTE_BUDGET_PROGRAM, SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from '../../src/chain/programs';
import { buildTransaction, decodeTransaction } from '../../src/chain/transactions';
import { fromHex, instructions, session, transactions } from '../vectors';

const fields = session.fields;
const told = transactions.find(({ name }) => name === 'open_with_terms, self-paid');
const sponsored = transactions.find(({ name }) => name === 'open_with_terms, sponsored');
const life = { blockhash: getBase58Decoder().decode(new Uint8Array(32).fill(5)), lastValidBlockHeight: 1n };
const stranger = address('EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1');
const payer = address(fields.payer);
// The vector's authorized signer is a voucher key; a page's is the operator, so its session lives elsewhere.
const opening = fromHex(instructions.open_with_terms.data);

function bytes(text: string | undefined): Uint8Array {
  return new Uint8Array(getBase64Encoder().encode(text ?? ''));
}

const offered: OfferedSession = {
  program: address(instructions.open_with_terms.program),
  payer,
  payee: address(fields.payee),
  operator: address(fields.authorized_signer),
  mint: address(fields.mint),
  tokenProgram: TOKEN_PROGRAM,
  decimals: Number(fields.decimals),
  amount: BigInt(fields.deposit),
  pricePerUnit: BigInt(fields.price_per_unit),
  gracePeriod: Number(fields.grace_period),
  expiresAt: Number(fields.expires_at),
  slaHash: fromHex(fields.sla_hash),
};

interface Change {
  data?: Uint8Array;
  program?: Address;
  accounts?: Record<number, Address>;
  before?: Instruction[];
  after?: Instruction[];
  feePayer?: Address;
}

/** The published instruction with the operator as signer of amounts, as a transaction, changed. */
function transaction(change: Change = {}): Uint8Array {
  const replaced: Record<number, Address> = { 3: offered.operator, ...change.accounts };
  const accounts = instructions.open_with_terms.accounts.map(({ key, signer, writable }, at) => ({
    address: replaced[at] ?? address(key),
    role: ((signer ? 2 : 0) | (writable ? 1 : 0)) as AccountRole,
  }));
  const open = { programAddress: change.program ?? offered.program, accounts, data: change.data ?? opening };
  return buildTransaction(change.feePayer ?? payer, [...(change.before ?? []), open, ...(change.after ?? [])], life);
}

function data(offset: number, ...changed: number[]): Uint8Array {
  const copy = Uint8Array.from(opening);
  copy.set(changed, offset);
  return copy;
}

const limit = (units: number): Instruction => ({
  programAddress: COMPUTE_BUDGET_PROGRAM,
  data: Uint8Array.of(2, ...getU32Encoder().encode(units)),
});
const price = (microLamports: bigint): Instruction => ({
  programAddress: COMPUTE_BUDGET_PROGRAM,
  data: Uint8Array.of(3, ...getU64Encoder().encode(microLamports)),
});
const transfer: Instruction = {
  programAddress: SYSTEM_PROGRAM,
  accounts: [
    { address: payer, role: AccountRole.WRITABLE_SIGNER },
    { address: stranger, role: AccountRole.WRITABLE },
  ],
  data: Uint8Array.of(2, 0, 0, 0, ...getU64Encoder().encode(1n)),
};

describe('an opening that is what was offered', () => {
  test('may be signed', async () => {
    const checked = await checkOpening(transaction(), offered);
    expect(checked).toEqual({ ok: true, session: fields && told?.session, sponsored: false });
  });

  test('may be paid for by a sponsor', async () => {
    const rent = transaction({ feePayer: stranger, accounts: { 1: stranger } });
    expect(await checkOpening(rent, offered)).toMatchObject({ ok: true, sponsored: true });
    expect(await checkOpening(transaction({ feePayer: stranger }), offered)).toMatchObject({
      ok: true,
      sponsored: true,
    });
  });

  test('may be in a little hurry', async () => {
    const hurried = transaction({ before: [limit(100_000), price(1_000_000n)] });
    expect(await checkOpening(hurried, offered)).toMatchObject({ ok: true });
  });

  test('may expire minutes away from what was shown', async () => {
    const later = { ...offered, expiresAt: (offered.expiresAt ?? 0) + 590 };
    expect(await checkOpening(transaction(), later)).toMatchObject({ ok: true });
  });
});

describe('an opening is refused', () => {
  test.each([
    ['garbage', Uint8Array.of(1, 2, 3), 'malformed'],
    ['nothing', new Uint8Array(), 'malformed'],
    ['a byte behind the end', Uint8Array.of(...transaction(), 0), 'malformed'],
    ['a transfer behind it', transaction({ after: [transfer] }), 'other-instructions'],
    ['a transfer before it', transaction({ before: [transfer] }), 'other-instructions'],
    ['another program', transaction({ program: stranger }), 'other-program'],
    ['another instruction', transaction({ data: data(0, 1) }), 'other-instructions'],
    ['bytes behind the data', transaction({ data: Uint8Array.of(...opening, 0) }), 'other-instructions'],
    ['a higher amount', transaction({ data: data(9, 0x41) }), 'other-amount'],
    ['a longer grace period', transaction({ data: data(17, 0x85) }), 'other-terms'],
    ['a higher price', transaction({ data: data(29, 0x41) }), 'other-terms'],
    ['another expiry', transaction({ data: data(37, 0, 0, 0, 0, 0, 0, 0, 0) }), 'other-terms'],
    ['other SLA terms', transaction({ data: data(45, 0) }), 'other-terms'],
    ['another payee', transaction({ accounts: { 2: stranger } }), 'other-accounts'],
    ['another operator', transaction({ accounts: { 3: stranger } }), 'other-accounts'],
    ['another mint', transaction({ accounts: { 4: stranger } }), 'other-accounts'],
    ['another key for amounts', transaction({ accounts: { 5: stranger } }), 'other-accounts'],
    ['another session', transaction({ accounts: { 6: stranger } }), 'other-accounts'],
    ['another escrow', transaction({ accounts: { 8: stranger } }), 'other-accounts'],
    ['another token program', transaction({ accounts: { 9: TOKEN_2022_PROGRAM } }), 'other-accounts'],
    ['a third signer', transaction({ accounts: { 1: stranger } }), 'other-signers'],
    ['another payer', transaction({ accounts: { 0: stranger, 1: stranger }, feePayer: stranger }), 'other-signers'],
    ['a fee that robs', transaction({ before: [price(MAX_PRIORITY_LAMPORTS * 1_000_000n)] }), 'fee-too-high'],
    ['two prices', transaction({ before: [price(1n), price(1n)] }), 'other-instructions'],
  ] as const)('with %s', async (_, bad, refusal) => {
    expect(await checkOpening(bad, offered)).toEqual({ ok: false, refusal });
  });

  test('when the page showed USDC with other decimals, and so another amount', async () => {
    expect(await checkOpening(transaction(), { ...offered, decimals: 5 })).toEqual({
      ok: false,
      refusal: 'other-amount',
    });
  });

  test('when it is the published one, whose vouchers another key signs', async () => {
    for (const one of [told, sponsored]) {
      const refused = await checkOpening(bytes(one?.transaction), { ...offered, operator: address(fields.operator) });
      expect(refused).toMatchObject({ ok: false });
    }
  });
});

describe('a top-up', () => {
  const own = {
    address: address(told?.session ?? ''),
    payer,
    escrow: address(fields.escrow),
    mint: offered.mint,
  };
  const check = (text: string | undefined, amount: bigint, whose = own) =>
    checkTopUp(bytes(text), whose, amount, TOKEN_PROGRAM, offered.program);
  const [plain, paid] = ['top_up, self-paid', 'top_up, sponsored'].map(
    (name) => transactions.find((one) => one.name === name)?.transaction,
  );

  test('of the published vectors may be signed', async () => {
    expect(await check(plain, 5n)).toEqual({ ok: true, session: own.address, sponsored: false });
    expect(await check(paid, 5n)).toEqual({ ok: true, session: own.address, sponsored: true });
  });

  test('is refused for another amount, session or payer', async () => {
    expect(await check(plain, 4n)).toEqual({ ok: false, refusal: 'other-amount' });
    expect(await check(plain, 5n, { ...own, address: stranger })).toEqual({ ok: false, refusal: 'other-accounts' });
    expect(await check(plain, 5n, { ...own, escrow: stranger })).toEqual({ ok: false, refusal: 'other-accounts' });
    expect(await check(plain, 5n, { ...own, payer: stranger })).toEqual({ ok: false, refusal: 'other-signers' });
    expect(await check(told?.transaction, 5n)).toEqual({ ok: false, refusal: 'other-instructions' });
  });
});

test('a transaction that is cut anywhere is malformed', () => {
  const whole = transaction();
  expect(decodeTransaction(whole)?.feePayer).toBe(payer);
  for (let end = 0; end < whole.length; end++) expect(decodeTransaction(whole.subarray(0, end))).toBeNull();
});
