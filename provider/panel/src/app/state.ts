/** What the page knows, and what follows from it. Pure. */

import type { Wallet } from '@wallet-standard/base';
import type { ClosePreview, Invoice, Offer, Preview, Service, Session } from '../api/types';
import { HUB_START, type HubState } from '../hub/state';
import type { Connected } from '../wallet/wallets';

/** One question and what became of it. */
export interface Turn {
  readonly key: string;
  readonly question: string;
  readonly outcome: TurnOutcome;
}

export type TurnOutcome =
  | { readonly kind: 'running' }
  /** It has begun. */
  | { readonly kind: 'flowing'; readonly text: string }
  | {
      readonly kind: 'answered';
      readonly text: string;
      readonly cost: bigint;
      /** The SLA term that the answer broke, which made it free. */
      readonly broke: string | null;
      readonly gift: boolean;
      /** Why it ends where it does, if that is before its time. */
      readonly cut: string | null;
      /** What to save, of an answer that is no text. */
      readonly file: { readonly kind: string; readonly base64: string } | null;
      readonly failed: boolean;
    }
  /** The connection broke in the middle; what came is charged. */
  | { readonly kind: 'broken'; readonly text: string }
  /** Nobody knows whether it arrived; asking again with the same key charges once. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'refused'; readonly why: string };

/** What the panel beside the conversation shows when nothing more urgent does. */
export type Sheet = 'offer' | 'topup' | 'close' | 'recover';

/** Something that the page has to say, once. */
export interface Notice {
  readonly tone: 'info' | 'good' | 'bad';
  readonly text: string;
}

export interface State {
  readonly service: Service | null;
  /** Null while the provider answers. */
  readonly outage: string | null;
  readonly session: Session | null;
  readonly invoice: Invoice | null;
  readonly preview: Preview | null;
  readonly closing: ClosePreview | null;
  readonly turns: readonly Turn[];
  readonly sheet: Sheet;
  readonly notice: Notice | null;
  readonly wallets: readonly Wallet[];
  readonly connected: Connected | null;
  /** What runs now, so that a second click does nothing. */
  readonly busy: 'funding' | 'wallet' | 'closing' | 'recovering' | null;
  readonly showQr: boolean;
  readonly hub: HubState;
  /** Whether the events of the session arrive. */
  readonly live: boolean;
  /** Unix seconds, moved by the clock of the page. */
  readonly now: number;
}

export const START: State = {
  service: null,
  outage: null,
  session: null,
  invoice: null,
  preview: null,
  closing: null,
  turns: [],
  sheet: 'offer',
  notice: null,
  wallets: [],
  connected: null,
  busy: null,
  showQr: false,
  hub: HUB_START,
  live: false,
  now: 0,
};

/** How a session stands, as a person sees it. */
export type Standing = 'pending' | 'active' | 'low' | 'ending' | 'depleted' | 'expired' | 'closing' | 'closed';

const FEW_ASKS = 5n;
const LOW_SHARE = 10n;
const SOON_SECONDS = 300;

/** Its standing now. `low` and `ending` warn while asks are still answered. */
export function standingOf(session: Session, now: number): Standing {
  switch (session.state) {
    case 'pending':
      return 'pending';
    case 'depleted':
      return 'depleted';
    case 'expired':
      return 'expired';
    case 'closing':
      return 'closing';
    case 'refunded':
    case 'abandoned':
      return 'closed';
    case 'active':
      break;
  }
  if (session.expiresAt !== null && now >= session.expiresAt) return 'expired';
  if (session.requestsLeft === 0n && session.price > 0n) return 'depleted';
  const paidFor = session.price === 0n ? null : session.deposit / session.price;
  if (paidFor !== null && (session.requestsLeft <= FEW_ASKS || session.requestsLeft * LOW_SHARE <= paidFor))
    return 'low';
  return session.expiresAt !== null && session.expiresAt - now <= SOON_SECONDS ? 'ending' : 'active';
}

/** Whether a session still answers. */
export function answers(standing: Standing): boolean {
  return standing === 'active' || standing === 'low' || standing === 'ending';
}

/** What an ask would be paid by: where the input bar leads. */
export type Way =
  | { readonly by: 'session'; readonly session: Session }
  | { readonly by: 'free'; readonly left: number | null }
  | { readonly by: 'nothing' }
  /** Money is on its way, or somebody has to act first. */
  | { readonly by: 'wait'; readonly for: 'service' | 'payment' | 'opening' | 'closing' }
  | { readonly by: 'topup' }
  | { readonly by: 'close' }
  | { readonly by: 'funding' };

export function wayOf(state: State): Way {
  const { service, session, invoice, preview, now } = state;
  if (!service) return { by: 'wait', for: 'service' };
  const standing = session && standingOf(session, now);
  if (session && standing && answers(standing)) return { by: 'session', session };
  if (preview?.coveredBy === 'free') return { by: 'free', left: preview.freeLeft };
  if (preview?.coveredBy === 'nothing') return { by: 'nothing' };
  if (invoice && isOpen(invoice)) return { by: 'wait', for: 'payment' };
  if (standing === 'pending') return { by: 'wait', for: 'opening' };
  if (standing === 'closing') return { by: 'wait', for: 'closing' };
  if (standing === 'depleted') return { by: 'topup' };
  if (standing === 'expired') return { by: 'close' };
  return { by: 'funding' };
}

/** What the panel shows. */
export type Scene =
  | { readonly kind: 'loading' }
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'nothing-to-fund' }
  | { readonly kind: 'paying'; readonly invoice: Invoice; readonly offer: Offer }
  | { readonly kind: 'session'; readonly session: Session; readonly offer: Offer; readonly standing: Standing }
  | { readonly kind: 'offer'; readonly offer: Offer };

export function sceneOf(state: State): Scene {
  const { service, session, invoice, outage } = state;
  if (!service) return { kind: outage === null ? 'loading' : 'unreachable' };
  const offer = offerOf(service, invoice?.offer ?? session?.offerId ?? null);
  if (!offer) return { kind: 'nothing-to-fund' };
  if (invoice) return { kind: 'paying', invoice, offer };
  if (session) return { kind: 'session', session, offer, standing: standingOf(session, state.now) };
  return { kind: 'offer', offer };
}

/** The offer of that id, or else the first that a page can fund. */
export function offerOf(service: Service, id: string | null): Offer | null {
  return service.offers.find(({ offerId }) => offerId === id) ?? service.offers.find(({ people }) => people) ?? null;
}

/** Whether an answer is still to come, or to end. */
export function isUnderWay({ outcome }: Turn): boolean {
  return outcome.kind === 'running' || outcome.kind === 'flowing';
}

/** The later of two readings of a session: what was asked never goes back, and neither does its state. */
export function newer(known: Session | null, told: Session): Session {
  if (!known || known.sessionId !== told.sessionId) return told;
  if (isFinal(known) && !isFinal(told)) return known;
  const older = told.requestsMade < known.requestsMade || told.deposit < known.deposit || told.spent < known.spent;
  return older && told.state === known.state ? known : told;
}

/** Whether nothing more happens to a session. */
export function isFinal(session: Session): boolean {
  return session.state === 'refunded' || session.state === 'abandoned';
}

/** Whether an invoice still waits for something, so that it is worth asking about. */
export function isOpen(invoice: Invoice): boolean {
  return invoice.state === 'waiting' || invoice.state === 'confirming';
}
