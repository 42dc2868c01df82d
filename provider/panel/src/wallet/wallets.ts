/** The wallets of this browser, found through the Wallet Standard, so that each appears by itself. */

import { getWallets } from '@wallet-standard/app';
import type { Wallet, WalletAccount } from '@wallet-standard/base';
import {
  StandardConnect,
  type StandardConnectFeature,
  StandardEvents,
  type StandardEventsFeature,
} from '@wallet-standard/features';
import {
  SolanaSignAndSendTransaction,
  type SolanaSignAndSendTransactionFeature,
  type SolanaSignMessageFeature,
  SolanaSignTransaction,
  type SolanaSignTransactionFeature,
} from '@solana/wallet-standard-features';
import { type Outcome, outcomeOf } from './outcomes';

export type Features = Partial<
  StandardConnectFeature &
    StandardEventsFeature &
    SolanaSignTransactionFeature &
    SolanaSignAndSendTransactionFeature &
    SolanaSignMessageFeature
>;

/** A wallet with the account that its owner chose. */
export interface Connected {
  readonly wallet: Wallet;
  readonly account: WalletAccount;
}

/** What a wallet offers; features that it does not have are absent. */
export function featuresOf(wallet: Wallet): Features {
  return wallet.features as Features;
}

/** Wallets that can sign Solana transactions, now. */
export function solanaWallets(): readonly Wallet[] {
  return getWallets().get().filter(isUsable);
}

/** Calls `changed` with them now and whenever one comes or goes; returns what stops that. */
export function watchWallets(changed: (wallets: readonly Wallet[]) => void): () => void {
  const wallets = getWallets();
  const tell = () => changed(solanaWallets());
  const stops = [wallets.on('register', tell), wallets.on('unregister', tell)];
  tell();
  return () => stops.forEach((stop) => stop());
}

/**
 * Ask a wallet for its account. With `silent` it is asked only for one that it already shares with this page, so that
 * nothing pops up after a reload.
 */
export async function connect(wallet: Wallet, silent = false): Promise<Outcome<Connected>> {
  const feature = featuresOf(wallet)[StandardConnect];
  if (!feature) return { kind: 'unsupported', feature: StandardConnect };
  return outcomeOf<Connected>(async () => {
    const { accounts } = await feature.connect({ silent });
    const account = accounts.find(({ chains }) => chains.some((chain) => chain.startsWith('solana:')));
    return account ? { kind: 'done', value: { wallet, account } } : { kind: 'refused' };
  });
}

/** Tells when the owner chose another account (null: none any more); returns what stops that. */
export function watchAccount(connected: Connected, changed: (now: Connected | null) => void): () => void {
  const { wallet } = connected;
  const feature = featuresOf(wallet)[StandardEvents];
  if (!feature) return () => {};
  return feature.on('change', ({ accounts }) => {
    if (!accounts) return;
    const kept = accounts.find(({ address }) => address === connected.account.address);
    const account = kept ?? accounts[0];
    if (account === undefined) changed(null);
    else if (!kept) changed({ wallet, account });
  });
}

function isUsable(wallet: Wallet): boolean {
  const features = featuresOf(wallet);
  const signs = SolanaSignTransaction in features || SolanaSignAndSendTransaction in features;
  return signs && StandardConnect in features && wallet.chains.some((chain) => chain.startsWith('solana:'));
}
