import {
  address,
  getBase58Encoder,
  getPublicKeyFromAddress,
  getTransactionDecoder,
  type SignatureBytes,
  verifySignature,
} from '@solana/kit';
import type { Wallet, WalletAccount } from '@wallet-standard/base';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { requestClose } from '../../src/chain/instructions';
import { buildTransaction } from '../../src/chain/transactions';
import { clusterNamed, clusterOf } from '../../src/wallet/clusters';
import { type LocalWallet, localWallet, offerLocalWallet, parseSecret, storedSecret } from '../../src/wallet/local';
import { outcomeOf } from '../../src/wallet/outcomes';
import { signMessage, signToSend, signTransaction } from '../../src/wallet/signing';
import { type Connected, connect, solanaWallets, watchAccount, watchWallets } from '../../src/wallet/wallets';
import { session } from '../vectors';

const seed = new Uint8Array(32).fill(1);
const text = new Uint8Array(new TextEncoder().encode('Give me a new token.\nNonce: ü'));
// The address of that seed, as in the published vectors.
const payer = address(session.fields.payer);
const life = { blockhash: 'LbUiWL3xVV8hTFYBVdbTNrpDo41NKS6o3LHHuDzjfcY', lastValidBlockHeight: 1n };
const transaction = buildTransaction(payer, [requestClose({ address: address(session.fields.escrow), payer })], life);

/** The wallet with some features replaced; those that are undefined are gone. */
function changed(wallet: LocalWallet, features: Record<string, unknown>): Wallet {
  const kept = Object.entries({ ...wallet.features, ...features }).filter(([, feature]) => feature !== undefined);
  return { ...wallet, accounts: wallet.accounts, features: Object.fromEntries(kept) };
}

async function connected(wallet: Wallet): Promise<Connected> {
  const outcome = await connect(wallet);
  if (outcome.kind !== 'done') throw new Error(outcome.kind);
  return outcome.value;
}

describe('the local wallet', () => {
  test('is the account of its key, on local networks alone', async () => {
    const { account } = await connected(await localWallet(seed));
    expect(account.address).toBe(payer);
    expect(account.chains).toEqual(['solana:localnet']);
  });

  test('signs transactions for real', async () => {
    const outcome = await signTransaction(await connected(await localWallet(seed)), transaction, 'solana:localnet');
    if (outcome.kind !== 'done') throw new Error(outcome.kind);
    const { messageBytes, signatures } = getTransactionDecoder().decode(outcome.value);
    const signature = signatures[payer] as SignatureBytes;
    expect(await verifySignature(await getPublicKeyFromAddress(payer), signature, messageBytes)).toBe(true);
  });

  test('signs messages for real', async () => {
    const message = new TextEncoder().encode('a message');
    const outcome = await signMessage(await connected(await localWallet(seed)), message);
    if (outcome.kind !== 'done') throw new Error(outcome.kind);
    const signature = outcome.value as SignatureBytes;
    expect(await verifySignature(await getPublicKeyFromAddress(payer), signature, message)).toBe(true);
  });

  test('shares nothing silently before its owner agreed', async () => {
    const wallet = await localWallet(seed);
    expect(await connect(wallet, true)).toEqual({ kind: 'refused' });
    await connected(wallet);
    expect(await connect(wallet, true)).toMatchObject({ kind: 'done' });
  });
});

describe('what a wallet does not do is an outcome', () => {
  const answer = (request: string) => async (asked: string) => asked !== request;

  test('its owner says no to connecting', async () => {
    expect(await connect(await localWallet(seed, answer('connect')))).toEqual({ kind: 'refused' });
  });

  test('its owner says no to a transaction or a message', async () => {
    const transactions = await connected(await localWallet(seed, answer('transaction')));
    expect(await signTransaction(transactions, transaction, 'solana:localnet')).toEqual({ kind: 'refused' });
    const messages = await connected(await localWallet(seed, answer('message')));
    expect(await signMessage(messages, text)).toEqual({ kind: 'refused' });
  });

  test('it is on another network', async () => {
    const local = await connected(await localWallet(seed));
    expect(await signTransaction(local, transaction, 'solana:mainnet')).toEqual({ kind: 'wrong-network' });
    expect(await signToSend(local, transaction, 'solana:mainnet')).toEqual({ kind: 'wrong-network' });
  });

  test('it cannot sign messages', async () => {
    const wallet = changed(await localWallet(seed), { 'solana:signMessage': undefined });
    expect(await signMessage(await connected(wallet), text)).toMatchObject({ kind: 'unsupported' });
  });

  test('it returns garbage, the transaction unsigned, or another message', async () => {
    for (const signedTransaction of [new Uint8Array(3), transaction]) {
      const signing = { signTransaction: async () => [{ signedTransaction }] };
      const wallet = changed(await localWallet(seed), { 'solana:signTransaction': signing });
      expect(await signToSend(await connected(wallet), transaction, 'solana:localnet')).toMatchObject({
        kind: 'failed',
      });
    }
    const other = { signMessage: async () => [{ signedMessage: seed, signature: new Uint8Array(64) }] };
    const wallet = changed(await localWallet(seed), { 'solana:signMessage': other });
    expect(await signMessage(await connected(wallet), text)).toMatchObject({ kind: 'failed' });
  });

  test('it is never asked to sign a transaction as a message', async () => {
    const local = await connected(await localWallet(seed));
    const disguised = [
      transaction,
      transaction.subarray(65),
      new Uint8Array(),
      Uint8Array.of(0xff, 0x41),
      Uint8Array.of(0x41, 0),
    ];
    for (const message of disguised) expect(await signMessage(local, message)).toMatchObject({ kind: 'failed' });
    expect(await signMessage(local, text)).toMatchObject({ kind: 'done' });
  });

  test('its owner chooses another account, or none', async () => {
    const first = await connected(await localWallet(seed));
    const other = (await connected(await localWallet(new Uint8Array(32).fill(2)))).account;
    let tell: (change: { accounts?: readonly WalletAccount[] }) => void = () => {};
    const events = { on: (_: string, listener: typeof tell) => ((tell = listener), () => {}) };
    const wallet = changed(await localWallet(seed), { 'standard:events': events });
    const seen = vi.fn();
    watchAccount({ wallet, account: first.account }, seen);
    tell({});
    tell({ accounts: [other, first.account] });
    expect(seen).not.toHaveBeenCalled();
    tell({ accounts: [other] });
    expect(seen).toHaveBeenLastCalledWith({ wallet, account: other });
    tell({ accounts: [] });
    expect(seen).toHaveBeenLastCalledWith(null);
  });

  test.each([
    [{ code: 4001, message: 'x' }, { kind: 'refused' }],
    [new Error('Transaction cancelled'), { kind: 'refused' }],
    [new Error('User rejected the request.'), { kind: 'refused' }],
    [new Error('insufficient lamports'), { kind: 'failed', reason: 'insufficient lamports' }],
    ['a string', { kind: 'failed', reason: 'a string' }],
    [null, { kind: 'failed', reason: 'null' }],
  ])('it throws %o', async (thrown, outcome) => {
    const throwing = () => Promise.reject(thrown);
    expect(await outcomeOf(throwing)).toEqual(outcome);
  });
});

test('a wallet that only signs and sends is used that way', async () => {
  const signature = getBase58Encoder().encode('5'.repeat(86)).slice(0, 64);
  const sending = {
    signAndSendTransaction: async () => [{ signature: Uint8Array.from({ length: 64 }, (_, at) => signature[at] ?? 0) }],
  };
  const wallet = changed(await localWallet(seed), {
    'solana:signTransaction': undefined,
    'solana:signAndSendTransaction': sending,
  });
  const outcome = await signToSend(await connected(wallet), transaction, 'solana:localnet');
  expect(outcome).toMatchObject({ kind: 'done', value: { sent: true } });
});

describe('discovery', () => {
  beforeEach(() => {
    // The standard's events go through the window.
    vi.stubGlobal('window', new EventTarget());
  });

  test('finds a wallet that registers later, and its key is made once', async () => {
    const stored = new Map<string, string>();
    const storage = {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, value: string) => void stored.set(key, value),
    } as unknown as Storage;
    const seen = vi.fn();
    const stop = watchWallets(seen);
    expect(seen).toHaveBeenLastCalledWith([]);
    expect(storedSecret(storage)).toBeNull();
    const first = await offerLocalWallet(storage);
    const brought = await localWallet(parseSecret(storedSecret(storage) ?? '') ?? new Uint8Array());
    expect((await connected(brought)).account.address).toBe((await connected(first)).account.address);
    expect(seen).toHaveBeenLastCalledWith([first]);
    expect(solanaWallets()).toEqual([first]);
    stop();
    const again = await offerLocalWallet(storage);
    expect((await connected(again)).account.address).toBe((await connected(first)).account.address);
    expect(seen).toHaveBeenCalledTimes(2);
  });
});

test('clusters are told apart by their first block', () => {
  expect(clusterOf('5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d')).toBe('solana:mainnet');
  expect(clusterOf(payer)).toBe('solana:localnet');
  expect(clusterNamed('devnet')).toBe('solana:devnet');
  expect(clusterNamed('elsewhere')).toBeNull();
});
