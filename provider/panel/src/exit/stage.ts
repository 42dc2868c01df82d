/** How far a session is on its way out, from its account and the chain's time. Pure. */

import type { ChainTime } from '../chain/clock';
import { deadline, OPEN_SLOT_WINDOW, type Session } from '../chain/session';

export type Stage =
  /** Still running: the payer can request its close. */
  | { readonly kind: 'open' }
  /** The grace period runs until `until` (Unix seconds), in which the provider may still claim what was used. */
  | { readonly kind: 'waiting'; readonly until: bigint; readonly seconds: bigint }
  /** The payer can withdraw now. */
  | { readonly kind: 'due' }
  /** Paid out already; its rent comes back once its address can no longer be used again. */
  | { readonly kind: 'settled'; readonly slots: bigint };

export function stageOf(session: Session, now: ChainTime): Stage {
  if (session.status === 'closed') {
    const slots = session.openSlot + OPEN_SLOT_WINDOW - now.slot;
    return { kind: 'settled', slots: slots > 0n ? slots : 0n };
  }
  const until = deadline(session);
  if (until !== null && now.time >= until) return { kind: 'due' };
  if (session.status === 'open' || until === null) return { kind: 'open' };
  return { kind: 'waiting', until, seconds: until - now.time };
}

/** Seconds as a person reads a countdown: "14:59", "3:00:00", "2 days 3:00:00". */
export function countdown(seconds: bigint): string {
  const [days, rest] = [seconds / 86_400n, seconds % 86_400n];
  const [hours, minutes, left] = [rest / 3600n, (rest / 60n) % 60n, rest % 60n].map(String) as [string, string, string];
  const clock = `${minutes.padStart(hours === '0' ? 1 : 2, '0')}:${left.padStart(2, '0')}`;
  const long = hours === '0' && days === 0n ? clock : `${hours}:${clock.padStart(5, '0')}`;
  return days === 0n ? long : `${days} ${days === 1n ? 'day' : 'days'} ${long}`;
}
