/** The two instructions of the payer's own exit, and the one that makes a token account to withdraw into. */

import { AccountRole, type Address, type Instruction } from '@solana/kit';
import { deriveAta } from './addresses';
import { ATA_PROGRAM, SESSION_PROGRAM, SYSTEM_PROGRAM, TOKEN_PROGRAM } from './programs';
import type { Session } from './session';

export const OPEN = 1;
export const TOP_UP = 3;
export const REQUEST_CLOSE = 5;
export const OPEN_WITH_TERMS = 16;
export const WITHDRAW = 19;
const CREATE_IDEMPOTENT = 1;

const { READONLY, WRITABLE, READONLY_SIGNER, WRITABLE_SIGNER } = AccountRole;

function instruction(program: Address, data: number, ...accounts: [Address, AccountRole][]): Instruction {
  return {
    programAddress: program,
    accounts: accounts.map(([address, role]) => ({ address, role })),
    data: Uint8Array.of(data),
  };
}

/** The payer starts the grace period. */
export function requestClose(session: Pick<Session, 'address' | 'payer'>, program = SESSION_PROGRAM): Instruction {
  return instruction(program, REQUEST_CLOSE, [session.payer, READONLY_SIGNER], [session.address, WRITABLE]);
}

/** From the deadline on: what is left goes to `payerToken`, any token account of the payer for the session's mint. */
export function withdraw(
  session: Pick<Session, 'address' | 'rentPayer' | 'escrow' | 'mint'>,
  payerToken: Address,
  tokenProgram: Address,
  program = SESSION_PROGRAM,
): Instruction {
  return instruction(
    program,
    WITHDRAW,
    [session.address, WRITABLE],
    [session.rentPayer, WRITABLE],
    [session.escrow, WRITABLE],
    [payerToken, WRITABLE],
    // SPL Token moves tokens without their mint: naming the program in its place leaves it out.
    [tokenProgram === TOKEN_PROGRAM ? program : session.mint, READONLY],
    [tokenProgram, READONLY],
  );
}

/** Create the owner's associated token account at the owner's expense, unless it exists. */
export async function createAta(owner: Address, mint: Address, tokenProgram: Address): Promise<Instruction> {
  return instruction(
    ATA_PROGRAM,
    CREATE_IDEMPOTENT,
    [owner, WRITABLE_SIGNER],
    [await deriveAta(owner, mint, tokenProgram), WRITABLE],
    [owner, READONLY],
    [mint, READONLY],
    [SYSTEM_PROGRAM, READONLY],
    [tokenProgram, READONLY],
  );
}
