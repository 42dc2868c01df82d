/** The published vectors, which Python and Rust derive too. */

import addresses from '../../../tests/vectors/addresses.json';
import instructions from '../../../tests/vectors/instructions.json';
import session from '../../../tests/vectors/session_account.json';
import transactions from '../../../tests/vectors/transactions.json';

export { addresses, instructions, session, transactions };

export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

export function toHex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
