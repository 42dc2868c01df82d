/** Addresses that are fixed by the session program or by Solana. */

import { type Address, address } from '@solana/kit';

export const SESSION_PROGRAM: Address = address('reUf7A1fqcJL4gQQmEbTReMuidTJnUF48pJUddZqnZT');
export const TOKEN_PROGRAM: Address = address('TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA');
export const TOKEN_2022_PROGRAM: Address = address('TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb');
export const ATA_PROGRAM: Address = address('ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL');
export const SYSTEM_PROGRAM: Address = address('11111111111111111111111111111111');
export const COMPUTE_BUDGET_PROGRAM: Address = address('ComputeBudget111111111111111111111111111111');
export const RENT_SYSVAR: Address = address('SysvarRent111111111111111111111111111111111');
export const CLOCK_SYSVAR: Address = address('SysvarC1ock11111111111111111111111111111111');

export function isTokenProgram(owner: Address): boolean {
  return owner === TOKEN_PROGRAM || owner === TOKEN_2022_PROGRAM;
}
