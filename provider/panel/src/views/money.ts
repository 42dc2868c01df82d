/** Amounts with the name of their token, exact. */

import type { Offer } from '../api/types';
import { grouped } from '../texts/en';
import { formatAmount, tokenName } from '../chain/amounts';

/** "0.992 USDC"; a token that nobody knows is called by its address, on test networks "TEST". */
export function money(units: bigint, offer: Offer): string {
  const [whole = '', fraction = ''] = formatAmount(units, offer.token.decimals).split('.');
  return `${grouped(BigInt(whole))}.${fraction} ${unitName(offer)}`;
}

/** Lamports as SOL, exact. */
export function sol(lamports: bigint): string {
  return `${formatAmount(lamports, 9)} SOL`;
}

export function unitName({ token, network }: Offer): string {
  return token.symbol ?? (network === 'localnet' ? 'TEST' : tokenName(token.mint));
}

/** Where people look at a transaction; null for networks that no explorer sees. */
export function explorerUrl(signature: string, network: string): string | null {
  if (network === 'mainnet') return `https://explorer.solana.com/tx/${signature}`;
  return network === 'devnet' ? `https://explorer.solana.com/tx/${signature}?cluster=devnet` : null;
}
