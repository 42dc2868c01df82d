/** What the program says in a transaction's logs. */

import { type Address, getAddressDecoder, getBase64Encoder, getU64Decoder } from '@solana/kit';
import { SESSION_PROGRAM } from './programs';

/** The first 8 bytes of the SHA-256 of "event:SessionWithdrawn"; session, settled and refunded follow. */
const WITHDRAWN = Uint8Array.of(0x48, 0x8c, 0x61, 0xd7, 0x8d, 0x4e, 0x04, 0x70);
const WITHDRAWN_LENGTH = 56;
const REFUNDED_OFFSET = 48;
const INVOKE = /^Program (\w{32,44}) invoke \[\d+\]$/;
const LEAVE = /^Program (\w{32,44}) (?:success$|failed)/;
const DATA = 'Program data: ';

/**
 * What a withdrawal from `session` paid back, in base units; null where the logs do not say. Only the session program is
 * believed: any other one may log the same bytes.
 */
export function refundIn(logs: readonly string[], session: Address, program = SESSION_PROGRAM): bigint | null {
  const running: (string | undefined)[] = [];
  for (const line of logs) {
    const entered = INVOKE.exec(line);
    if (entered) running.push(entered[1]);
    else if (LEAVE.test(line)) running.pop();
    else if (line.startsWith(DATA) && running.at(-1) === program) {
      const refunded = withdrawn(line.slice(DATA.length), session);
      if (refunded !== null) return refunded;
    }
  }
  return null;
}

function withdrawn(text: string, session: Address): bigint | null {
  let data: Uint8Array;
  try {
    data = new Uint8Array(getBase64Encoder().encode(text));
  } catch {
    return null;
  }
  if (data.length !== WITHDRAWN_LENGTH || !WITHDRAWN.every((byte, at) => data[at] === byte)) return null;
  return getAddressDecoder().decode(data, 8) === session ? getU64Decoder().decode(data, REFUNDED_OFFSET) : null;
}
