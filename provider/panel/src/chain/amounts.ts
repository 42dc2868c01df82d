/** Money for people to read: whole base units inside, decimals only here, and never rounded. */

const SYMBOLS: Readonly<Record<string, string>> = {
  EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v: 'USDC',
  '4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU': 'USDC',
  So11111111111111111111111111111111111111112: 'SOL',
};

/** Base units in the token's units, exactly: shortest form with at least one digit after the point ("1.0", "0.76"). */
export function formatAmount(units: bigint, decimals: number): string {
  const digits = units.toString().padStart(decimals + 1, '0');
  const at = digits.length - decimals;
  return `${digits.slice(0, at)}.${digits.slice(at).replace(/0+$/, '') || '0'}`;
}

/** What people call a token: its symbol where its mint is known to be that token, else its mint, shortened. */
export function tokenName(mint: string): string {
  return SYMBOLS[mint] ?? shortened(mint);
}

/** The beginning and the end of an address. */
export function shortened(address: string): string {
  return `${address.slice(0, 4)}…${address.slice(-4)}`;
}
