/** An answer that flows: the service's own events, and the receipt at the end of them. */

import { blocksOf } from './events';
import { members } from './read';
import type { Charge } from './types';

const RECEIPT = 'payment-receipt';
const PROBLEM = /^(urn:retainer:problem:|https:\/\/paymentauth\.org\/problems\/)/;

/** How a stream ended: what it cost, null where it broke off before it said so; and why it was cut, if it was. */
export interface Ended {
  readonly charge: Charge | null;
  readonly cut: string | null;
}

/** Reads to the end; `heard` is given the data of each of the service's events. A connection that breaks is an end. */
export async function readStream(
  body: ReadableStream<Uint8Array> | null,
  heard: (data: string) => void,
): Promise<Ended> {
  let charge: Charge | null = null;
  let cut: string | null = null;
  try {
    for await (const { event, data } of blocksOf(body)) {
      if (event === RECEIPT) charge = chargeOf(data);
      else if (event === 'error' && detailOf(data) !== null) cut = detailOf(data);
      else heard(data);
    }
  } catch {
    // Whatever was charged before the connection broke, the session tells.
  }
  return { charge, cut };
}

/** What a receipt says that its stream cost. */
function chargeOf(receipt: string): Charge | null {
  try {
    const padded = receipt.replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(padded), (character) => character.charCodeAt(0));
    const metered = members(JSON.parse(new TextDecoder().decode(bytes)))
      .inner('retainer')
      .inner('metered');
    const charged = metered.flag('charged');
    return {
      kind: charged ? 'charged' : 'free',
      amount: charged ? metered.amount('amount') : 0n,
      term: metered.maybe('term', metered.text),
    };
  } catch {
    return null;
  }
}

/** The sentence of a problem that the provider put at the end; null for an event of the service's own. */
function detailOf(data: string): string | null {
  try {
    const problem = members(JSON.parse(data));
    return PROBLEM.test(problem.text('type')) ? problem.text('detail') : null;
  } catch {
    return null;
  }
}
