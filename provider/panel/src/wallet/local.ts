/**
 * A wallet for local networks: a real Wallet Standard wallet that signs for real, with a key that is worth nothing.
 *
 * It is on `solana:localnet` alone, so that its key can never be asked to sign for a public cluster.
 */

import {
  createKeyPairFromPrivateKeyBytes,
  getAddressFromPublicKey,
  getTransactionDecoder,
  getTransactionEncoder,
  partiallySignTransaction,
  signBytes,
} from '@solana/kit';
import {
  SolanaSignMessage,
  type SolanaSignMessageFeature,
  SolanaSignTransaction,
  type SolanaSignTransactionFeature,
} from '@solana/wallet-standard-features';
import type { Wallet, WalletAccount } from '@wallet-standard/base';
import {
  StandardConnect,
  type StandardConnectFeature,
  StandardEvents,
  type StandardEventsFeature,
} from '@wallet-standard/features';
import { ReadonlyWalletAccount, registerWallet } from '@wallet-standard/wallet';

const CHAINS = ['solana:localnet'] as const;
const ICON = `data:image/svg+xml;base64,${btoa(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#888"/></svg>',
)}` as const;
const STORED_AS = 'retainer.local-wallet';
const SEED_LENGTH = 32;

export type Request = 'connect' | 'transaction' | 'message';

export interface LocalWallet extends Wallet {
  readonly features: StandardConnectFeature &
    StandardEventsFeature &
    SolanaSignTransactionFeature &
    SolanaSignMessageFeature;
}

/** Makes one from a 32-byte Ed25519 seed; `approve` is its owner, who can say no. */
export async function localWallet(
  seed: Uint8Array,
  approve: (request: Request) => boolean | Promise<boolean> = () => true,
): Promise<LocalWallet> {
  const keys = await createKeyPairFromPrivateKeyBytes(seed);
  const account: WalletAccount = new ReadonlyWalletAccount({
    address: await getAddressFromPublicKey(keys.publicKey),
    publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', keys.publicKey)),
    chains: CHAINS,
    features: [SolanaSignTransaction, SolanaSignMessage],
  });
  let shared: readonly WalletAccount[] = [];

  const asked = async (request: Request) => {
    if (!(await approve(request))) throw Object.assign(new Error('User rejected the request.'), { code: 4001 });
  };

  return {
    version: '1.0.0',
    name: 'Local test wallet',
    icon: ICON,
    chains: CHAINS,
    get accounts() {
      return shared;
    },
    features: {
      [StandardConnect]: {
        version: '1.0.0',
        connect: async ({ silent } = {}) => {
          if (!silent && shared.length === 0) await asked('connect');
          shared = silent ? shared : [account];
          return { accounts: shared };
        },
      },
      [StandardEvents]: { version: '1.0.0', on: () => () => {} },
      [SolanaSignTransaction]: {
        version: '1.0.0',
        supportedTransactionVersions: ['legacy', 0],
        signTransaction: async (...inputs) => {
          const outputs = [];
          for (const { transaction, chain } of inputs) {
            if (chain !== undefined && chain !== CHAINS[0]) throw new Error(`this wallet is not on ${chain}`);
            await asked('transaction');
            const signed = await partiallySignTransaction([keys], getTransactionDecoder().decode(transaction));
            outputs.push({ signedTransaction: new Uint8Array(getTransactionEncoder().encode(signed)) });
          }
          return outputs;
        },
      },
      [SolanaSignMessage]: {
        version: '1.1.0',
        signMessage: async (...inputs) => {
          const outputs = [];
          for (const { message } of inputs) {
            await asked('message');
            outputs.push({ signedMessage: message, signature: await signBytes(keys.privateKey, message) });
          }
          return outputs;
        },
      },
    },
  };
}

/**
 * Registers the local wallet of this browser, whose key is made once and kept in `storage`. For local networks only.
 *
 * `given` is a seed in hex that takes its place, such as that of a wallet with test money in it.
 */
export async function offerLocalWallet(storage: Storage, given: string | null = null): Promise<LocalWallet> {
  if (given !== null) storage.setItem(STORED_AS, given);
  const wallet = await localWallet(storedSeed(storage));
  registerWallet(wallet);
  return wallet;
}

/** A 32-byte seed from 64 hex digits or from a keypair file's numbers, of which the first half is the seed; else null. */
export function parseSecret(text: string): Uint8Array | null {
  const trimmed = text.trim();
  if (/^[0-9a-f]{64}$/i.test(trimmed))
    return Uint8Array.from(trimmed.match(/../g) ?? [], (hex) => Number.parseInt(hex, 16));
  if (!/^\[(\s*\d{1,3}\s*,){63}\s*\d{1,3}\s*\]$/.test(trimmed)) return null;
  const numbers = JSON.parse(trimmed) as number[];
  return numbers.every((number) => number < 256) ? Uint8Array.from(numbers.slice(0, SEED_LENGTH)) : null;
}

/** The key of this browser's local wallet in hex, to bring it to a saved page; null where there is none. */
export function storedSecret(storage: Storage): string | null {
  const stored = storage.getItem(STORED_AS);
  return stored && parseSecret(stored) ? stored : null;
}

function storedSeed(storage: Storage): Uint8Array {
  const stored = parseSecret(storedSecret(storage) ?? '');
  if (stored) return stored;
  const seed = crypto.getRandomValues(new Uint8Array(SEED_LENGTH));
  storage.setItem(STORED_AS, Array.from(seed, (byte) => byte.toString(16).padStart(2, '0')).join(''));
  return seed;
}
