/** The hub's own front door: everything that a person can do with cards. */

import type { Keeping } from '../app/keeping';
import type { Store } from '../app/store';
import { CARDS, nameOf } from '../texts/cards';
import { Board } from './board';
import { type CardCalls, PAGE } from './calls';
import { KeptDrafts, NEW_CARD, QUESTION } from './drafts';
import { FollowCards } from './follow';
import { type Reference, referenceIn, withReference } from './references';
import { KeptHub } from './seen';
import { cardOf, type Filter, modeOf, type Referring } from './state';
import type { Card } from './types';

/** Under which people of this page write. */
export const ME = 'me';

const NARROW = '(max-width: 52rem)';
const WIDE = '(min-width: 70rem)';

export class Hub {
  readonly follow: FollowCards;
  private readonly board: Board;
  private readonly kept: KeptHub;
  private readonly drafts: KeptDrafts;
  /** What was sent and not answered, with its key: sent once more, it is written once. */
  private readonly keys = new Map<string, { readonly said: string; readonly key: string }>();
  /** What the address asked for, until there is a session to look in. */
  private asked: Reference | null = null;

  constructor(
    private readonly calls: CardCalls,
    store: Store,
    keeping: Keeping,
  ) {
    this.board = new Board(store, keeping);
    this.kept = new KeptHub(keeping.storage);
    this.drafts = new KeptDrafts(keeping.storage);
    this.follow = new FollowCards(calls, this.board, this.kept, this.drafts, () => this.turned());
  }

  /** Begins: what was kept, how much room there is, and the card that the address names. */
  start(page: Window): void {
    const [narrow, wide] = [page.matchMedia(NARROW), page.matchMedia(WIDE)];
    const measure = () => this.board.set({ room: wide.matches ? 'wide' : narrow.matches ? 'narrow' : 'middle' });
    for (const query of [narrow, wide]) query.addEventListener('change', measure);
    measure();
    this.board.set({ pinned: this.kept.pinned, drafts: this.drafts.read() });
    this.asked = referenceIn(page.location.hash);
    page.addEventListener('keydown', (event) => {
      const called = event.key === 'k' && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
      if (!called || !this.board.page.state.service?.responders.length) return;
      event.preventDefault();
      this.toggle();
    });
  }

  show(): void {
    this.board.set({ open: true });
    void this.follow.refresh();
  }

  hide(): void {
    this.kept.pinned = false;
    this.board.set({ open: false, pinned: false, referring: null, trouble: null });
  }

  toggle(): void {
    if (modeOf(this.board.state) === 'closed') this.show();
    else this.hide();
  }

  pin(pinned: boolean): void {
    this.kept.pinned = pinned;
    this.board.set({ pinned, open: true });
  }

  /** Archived cards are read anew whenever they are asked for. */
  filter(change: Partial<Filter>): void {
    const anew = change.status === 'archived';
    this.board.set({ filter: { ...this.board.state.filter, ...change }, ...(anew && { archived: null }) });
    if (anew) void this.follow.refresh();
  }

  /** Shows a card's thread, and looks for a line of it where one is meant. */
  open(id: string, line: number | null = null): void {
    const { state } = this.board;
    const other = state.shown !== id && { lines: null, card: cardOf(state, id) };
    this.board.set({ open: true, shown: id, sought: line, trouble: null, ...other });
    void this.follow.refresh();
  }

  closeThread(): void {
    this.board.set({ shown: null, card: null, lines: null, sought: null, trouble: null });
  }

  draft(place: string, text: string): void {
    this.board.set({ drafts: this.drafts.write(place, text) });
  }

  /** Holds a reference until somebody says where it is to go. */
  refer(referring: Referring | null): void {
    this.board.set({ referring });
  }

  /** Puts a reference into an input, or into the draft of a card that is not open, where it waits to be sent. */
  put(place: string, { reference, name }: Referring): void {
    this.draft(place, withReference(this.board.state.drafts[place] ?? '', reference));
    this.board.set({ referring: null, said: CARDS.referred(name, this.nameOf(place)) });
  }

  create(responder: string, title: string): Promise<boolean> {
    const message = (this.board.state.drafts[NEW_CARD] ?? '').trim();
    const card = { responder, creator: ME, message, ...(title.trim() && { title: title.trim() }) };
    const { shown, open } = this.board.state;
    return this.during(
      NEW_CARD,
      (token) => this.calls.create(token, this.keyOf(NEW_CARD, JSON.stringify(card)), card),
      (made) => {
        this.wrote(made, NEW_CARD, message, CARDS.made);
        // Whoever has opened another card meanwhile, or put the hub away, stays there.
        if (this.board.state.shown === shown && this.board.state.open === open) this.open(made.id);
      },
    );
  }

  send(id: string): Promise<boolean> {
    const body = (this.board.state.drafts[id] ?? '').trim();
    return this.during(
      id,
      (token) => this.calls.send(token, id, this.keyOf(id, body), ME, body),
      (card) => this.wrote(card, id, body, CARDS.sent),
    );
  }

  /** Gives a card its title, in the list and on the card at once. */
  retitle(id: string, title: string): Promise<boolean> {
    return this.during(
      `title ${id}`,
      (token) => this.calls.retitle(token, id, title),
      (card) => this.took(card, CARDS.titled(title)),
    );
  }

  archive(id: string): Promise<boolean> {
    return this.during(
      `archive ${id}`,
      (token) => this.calls.archive(token, id),
      (card) => {
        this.draft(id, '');
        this.took(card, CARDS.wasArchived);
        if (this.board.state.shown === id && this.board.state.filter.status !== 'archived') this.closeThread();
      },
    );
  }

  retry(id: string): Promise<boolean> {
    return this.during(
      `retry ${id}`,
      (token) => this.calls.retry(token, id),
      (card) => this.took(card, CARDS.retrying),
    );
  }

  /** Lists the cards behind the last one, too. */
  older(): Promise<boolean> {
    return this.during(
      'older',
      (token) => this.calls.list(token, false, this.board.state.cards?.at(-1)?.id),
      (page) => {
        const known = this.board.state.cards ?? [];
        const ids = new Set(known.map(({ id }) => id));
        this.board.set({ cards: [...known, ...page.filter(({ id }) => !ids.has(id))], older: page.length === PAGE });
      },
    );
  }

  private turned(): void {
    this.keys.clear();
    if (this.asked) this.open(this.asked.card, this.asked.line);
    this.asked = null;
  }

  /**
   * Runs `call` unless the same runs already, and then takes over its answer, if these are still that session's cards.
   * What goes wrong is said where it was done. Whether it was done.
   */
  private async during<Told>(
    place: string,
    call: (token: string) => Promise<Told>,
    took: (told: Told) => void,
  ): Promise<boolean> {
    const { board } = this;
    const { session } = board;
    if (board.state.busy.includes(place)) return false;
    const token = board.token();
    if (!token) {
      board.set({ trouble: { place, text: CARDS.sessionGone } });
      return false;
    }
    board.set({ busy: [...board.state.busy, place], trouble: null });
    try {
      const told = await call(token);
      if (session !== board.session) return false;
      took(told);
      return true;
    } catch (error) {
      if (session === board.session) board.fail(place, error);
      return false;
    } finally {
      if (session === board.session) board.set({ busy: board.state.busy.filter((one) => one !== place) });
    }
  }

  /** A draft has become a line; what was typed behind it since stays. */
  private wrote(card: Card, place: string, sent: string, said: string): void {
    this.keys.delete(place);
    const now = (this.board.state.drafts[place] ?? '').trimStart();
    if (now.startsWith(sent)) this.draft(place, now.slice(sent.length).trimStart());
    this.took(card, said);
  }

  private took(card: Card, said: string): void {
    this.board.say(said);
    this.follow.took(card);
  }

  private keyOf(place: string, said: string): string {
    const known = this.keys.get(place);
    const key = known?.said === said ? known.key : crypto.randomUUID();
    this.keys.set(place, { said, key });
    return key;
  }

  private nameOf(place: string): string {
    if (place === QUESTION) return CARDS.toQuestion;
    const card = cardOf(this.board.state, place);
    return place === NEW_CARD || !card ? CARDS.toNew : CARDS.draftOf(nameOf(card));
  }
}
