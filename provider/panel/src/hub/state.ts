/** What the hub knows of cards, and what follows from it. Pure. */

import type { Drafts } from './drafts';
import type { Seen } from './seen';
import type { Card, CardStatus, Line, Responder } from './types';

export interface Filter {
  readonly text: string;
  readonly status: 'all' | CardStatus;
}

/** Something that waits to be put into an input: a reference, and what people call it. */
export interface Referring {
  readonly reference: string;
  readonly name: string;
}

/** What is being said on a card before it is a line. */
export interface Saying {
  readonly kind: 'title' | 'answer';
  readonly text: string;
}

/** How much room the page has: for a hub that covers it, floats above it, or may be pinned beside the talk. */
export type Room = 'narrow' | 'middle' | 'wide';

export interface HubState {
  readonly open: boolean;
  readonly pinned: boolean;
  readonly room: Room;
  readonly responders: readonly Responder[];
  /** Null until they were read. */
  readonly cards: readonly Card[] | null;
  /** Whether there are cards behind the last of them. */
  readonly older: boolean;
  /** Null unless they were asked for. */
  readonly archived: readonly Card[] | null;
  readonly filter: Filter;
  /** The card whose thread is shown; it and its lines once they were read. */
  readonly shown: string | null;
  readonly card: Card | null;
  readonly lines: readonly Line[] | null;
  /** The line that a link led to. */
  readonly sought: number | null;
  readonly saying: Readonly<Record<string, Saying>>;
  readonly seen: Seen;
  readonly drafts: Drafts;
  readonly referring: Referring | null;
  /** What is on its way to the provider: a draft's place, or what is done to a card. */
  readonly busy: readonly string[];
  /** What went wrong last, and where. */
  readonly trouble: { readonly place: string; readonly text: string } | null;
  /** The latest thing that a screen reader is to say. */
  readonly said: string;
}

export const NO_FILTER: Filter = { text: '', status: 'all' };

/** All that belongs to one session. */
export const NO_CARDS = {
  responders: [],
  cards: null,
  older: false,
  archived: null,
  filter: NO_FILTER,
  shown: null,
  card: null,
  lines: null,
  sought: null,
  saying: {},
  seen: {},
  referring: null,
  busy: [],
  trouble: null,
  said: '',
} as const satisfies Partial<HubState>;

export const HUB_START: HubState = { ...NO_CARDS, open: false, pinned: false, room: 'middle', drafts: {} };

/** How the hub stands on the page. */
export function modeOf({ open, pinned, room }: HubState): 'closed' | 'covering' | 'floating' | 'pinned' {
  if (pinned && room === 'wide') return 'pinned';
  if (!open) return 'closed';
  return room === 'narrow' ? 'covering' : 'floating';
}

/** The card of that id, wherever it is listed. */
export function cardOf({ cards, archived, card }: HubState, id: string | null): Card | null {
  return [...(cards ?? []), ...(archived ?? []), card].find((one) => one?.id === id) ?? null;
}

/** The cards that the filter lets through; null until they were read. Archived ones only when asked for. */
export function listed({ cards, archived, filter }: HubState): readonly Card[] | null {
  const text = filter.text.trim().toLocaleLowerCase();
  const fits = (card: Card) =>
    [card.title ?? '', card.preview, card.responder].some((part) => part.toLocaleLowerCase().includes(text));
  if (filter.status === 'archived') return archived?.filter(fits) ?? null;
  return cards?.filter((card) => (filter.status === 'all' || card.status === filter.status) && fits(card)) ?? null;
}

/** Lines of a card that this browser has not shown. */
export function unread(card: Card, seen: Seen): number {
  return Math.max(0, card.lines - (seen[card.id] ?? 0));
}

/** What the hub's button says: cards with something new, and whether any stands on an error or runs. */
export function marks(state: HubState): { fresh: number; failed: boolean; running: boolean } {
  const all = state.cards ?? [];
  const inSight = modeOf(state) === 'closed' ? null : state.shown;
  return {
    fresh: all.filter((card) => card.id !== inSight && unread(card, state.seen) > 0).length,
    failed: all.some(({ status }) => status === 'error'),
    running: all.some(({ waiting }) => waiting > 0),
  };
}

/** A card as it is now, wherever it stands: in one of the lists, last changed first, and in the thread that is shown. */
export function withCard(
  { cards, archived, shown, card: before }: Pick<HubState, 'cards' | 'archived' | 'shown' | 'card'>,
  card: Card,
): Pick<HubState, 'cards' | 'archived' | 'card'> {
  const others = (list: readonly Card[]) => list.filter(({ id }) => id !== card.id);
  const first = (list: readonly Card[]) => [card, ...others(list)].sort((a, b) => b.updatedAt - a.updatedAt);
  const away = card.status === 'archived';
  return {
    cards: cards && (away ? others(cards) : first(cards)),
    archived: archived && (away ? first(archived) : others(archived)),
    card: shown === card.id ? card : before,
  };
}

/** A first page beside what was known: cards that come behind a whole page stay. */
export function withPage(known: readonly Card[] | null, page: readonly Card[], whole: boolean): readonly Card[] {
  const last = page.at(-1);
  if (!whole || !last || !known) return page;
  const ids = new Set(page.map(({ id }) => id));
  return [...page, ...known.filter((card) => card.updatedAt <= last.updatedAt && !ids.has(card.id))];
}

/** The first lines with those that came later. */
export function withLines(known: readonly Line[] | null, more: readonly Line[]): readonly Line[] {
  const last = known?.at(-1)?.number ?? 0;
  return [...(known ?? []), ...more.filter(({ number }) => number > last)];
}
