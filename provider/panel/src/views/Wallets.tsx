/** The wallets of this browser, each a button. */

import type { Wallet } from '@wallet-standard/base';
import { TEXTS } from '../texts/en';

interface Props {
  readonly wallets: readonly Wallet[];
  readonly busy: boolean;
  /** What a button says, from the wallet's name. */
  readonly action: (name: string) => string;
  readonly choose: (wallet: Wallet) => void;
}

export function Wallets({ wallets, busy, action, choose }: Props) {
  if (wallets.length === 0) return <p class="means">{TEXTS.noWallets}</p>;
  return (
    <ul class="wallets">
      {wallets.map((wallet) => (
        <li key={wallet.name}>
          <button type="button" class="main" aria-disabled={busy} onClick={() => choose(wallet)}>
            <img src={wallet.icon} alt="" width="20" height="20" />
            {action(wallet.name)}
          </button>
        </li>
      ))}
    </ul>
  );
}
