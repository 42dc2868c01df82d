/** What can go wrong between this page and the chain, by kinds that the texts have words for. */

export type ChainErrorKind =
  /** No answer: wrong address, no connection, or a node that browsers may not ask. */
  | 'unreachable'
  /** It answered, but not as a Solana node does. */
  | 'garbage'
  /** It asks to come back later. */
  | 'busy'
  /** The node does not offer this method. */
  | 'unsupported'
  /** The node refused, in its own words. */
  | 'refused'
  /** An account is not what it should be. */
  | 'foreign'
  /** The program refused; `code` is its error number. */
  | 'program';

export class ChainError extends Error {
  override readonly name = 'ChainError';

  constructor(
    readonly kind: ChainErrorKind,
    detail: string,
    readonly code?: number,
  ) {
    super(detail);
  }
}

/** The program's errors that a payer's own exit can meet; numbers never change their meaning. */
export const PROGRAM_ERRORS = {
  6004: 'UnauthorizedPayer',
  6005: 'SessionNotOpen',
  6056: 'WrongPayerToken',
  6057: 'TokenAccountFrozen',
  6155: 'DeadlineNotReached',
  6156: 'WindowNotOver',
} as const;

export type ProgramErrorName = (typeof PROGRAM_ERRORS)[keyof typeof PROGRAM_ERRORS];

/** The program's name for an error number, or null when a payer's exit should never meet it. */
export function programError(code: number | undefined): ProgramErrorName | null {
  const known: Readonly<Record<number, ProgramErrorName>> = PROGRAM_ERRORS;
  return (code !== undefined && known[code]) || null;
}
