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
    return this.during(NEW_CARD, async (token) => {
      const made = await this.calls.create(token, this.keyOf(NEW_CARD, JSON.stringify(card)), card);
      this.wrote(made, NEW_CARD, CARDS.made);
      this.open(made.id);
    });
  }

  send(id: string): Promise<boolean> {
    const body = (this.board.state.drafts[id] ?? '').trim();
    return this.during(id, async (token) => {
      this.wrote(await this.calls.send(token, id, this.keyOf(id, body), ME, body), id, CARDS.sent);
    });
  }

  /** Gives a card its title, in the list and on the card at once. */
  retitle(id: string, title: string): Promise<boolean> {
    return this.during(`title ${id}`, async (token) => {
      this.took(await this.calls.retitle(token, id, title), CARDS.titled(title));
    });
  }

  archive(id: string): Promise<boolean> {
    return this.during(`archive ${id}`, async (token) => {
      const card = await this.calls.archive(token, id);
      this.draft(id, '');
      this.took(card, CARDS.wasArchived);
      if (this.board.state.filter.status !== 'archived') this.closeThread();
    });
  }

  retry(id: string): Promise<boolean> {
    return this.during(`retry ${id}`, async (token) => this.took(await this.calls.retry(token, id), CARDS.retrying));
  }

  /** Lists the cards behind the last one, too. */
  older(): Promise<boolean> {
    return this.during('older', async (token) => {
      const known = this.board.state.cards ?? [];
      const page = await this.calls.list(token, false, known.at(-1)?.id);
      this.board.set({ cards: [...known, ...page], older: page.length === PAGE });
    });
  }

  private turned(): void {
    this.keys.clear();
    if (this.asked) this.open(this.asked.card, this.asked.line);
    this.asked = null;
  }

  /** Runs `act` unless something else runs; what goes wrong is said where it was done. Whether it was done. */
  private async during(place: string, act: (token: string) => Promise<void>): Promise<boolean> {
    const token = this.board.token();
    if (this.board.state.busy || !token) return false;
    this.board.set({ busy: place, trouble: null });
    try {
      await act(token);
      return true;
    } catch (error) {
      this.board.fail(place, error);
      return false;
    } finally {
      this.board.set({ busy: null });
    }
  }

  /** A draft has become a line. */
  private wrote(card: Card, place: string, said: string): void {
    this.keys.delete(place);
    this.draft(place, '');
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
