/** Token accounts and mints of both token programs, as far as a payer needs them. */

import { type Address, getAddressDecoder, getU64Decoder } from '@solana/kit';
import { ChainError } from './errors';
import { isTokenProgram } from './programs';
import type { Account } from './session';

const ACCOUNT_LENGTH = 165;
const MINT_LENGTH = 82;
const DECIMALS_OFFSET = 44;
const STATE_OFFSET = 108;
const key = getAddressDecoder();
const u64 = getU64Decoder();

/** `amount` in base units. */
export interface TokenAccount {
  readonly address: Address;
  readonly mint: Address;
  readonly owner: Address;
  readonly amount: bigint;
  readonly frozen: boolean;
}

/** The token account that an account holds; ChainError `foreign` when it holds none. */
export function readTokenAccount(account: Account): TokenAccount {
  const { address, data } = account;
  const state = data[STATE_OFFSET];
  if (!isTokenProgram(account.owner) || data.length < ACCOUNT_LENGTH || (state !== 1 && state !== 2)) {
    throw new ChainError('foreign', `${address} is no token account`);
  }
  return {
    address,
    mint: key.decode(data, 0),
    owner: key.decode(data, 32),
    amount: u64.decode(data, 64),
    frozen: state === 2,
  };
}

/** The mint's token program and decimals; ChainError `foreign` when the account is no mint. */
export function readMint(account: Account): { tokenProgram: Address; decimals: number } {
  const { address, owner, data } = account;
  const decimals = data[DECIMALS_OFFSET];
  if (
    !isTokenProgram(owner) ||
    data.length < MINT_LENGTH ||
    data[DECIMALS_OFFSET + 1] !== 1 ||
    decimals === undefined
  ) {
    throw new ChainError('foreign', `${address} is no token's mint`);
  }
  return { tokenProgram: owner, decimals };
}
