/** Money for people to read: whole base units inside, decimals only here, and never rounded. */

interface Token {
  readonly symbol: string;
  readonly decimals: number;
}

const TOKENS: Readonly<Record<string, Token>> = {
  EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v: { symbol: 'USDC', decimals: 6 },
  '4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU': { symbol: 'USDC', decimals: 6 },
  So11111111111111111111111111111111111111112: { symbol: 'SOL', decimals: 9 },
};

/** Base units in the token's units, exactly: shortest form with at least one digit after the point ("1.0", "0.76"). */
export function formatAmount(units: bigint, decimals: number): string {
  const digits = units.toString().padStart(decimals + 1, '0');
  const at = digits.length - decimals;
  return `${digits.slice(0, at)}.${digits.slice(at).replace(/0+$/, '') || '0'}`;
}

/** What people call a token: its symbol where its mint is known to be that token, else its mint, shortened. */
export function tokenName(mint: string): string {
  return TOKENS[mint]?.symbol ?? shortened(mint);
}

/** Whether a token can have these decimals: other ones would turn "1.0" into another amount than a person reads. */
export function canHaveDecimals(mint: string, decimals: number): boolean {
  return (TOKENS[mint]?.decimals ?? decimals) === decimals;
}

/** The beginning and the end of an address. */
export function shortened(address: string): string {
  return `${address.slice(0, 4)}…${address.slice(-4)}`;
}
