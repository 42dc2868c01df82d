/** Keeps the hub in step with the provider: whose cards, what happens on them, and what of it was read here. */

import { ApiError } from '../api/client';
import type { StreamEvent } from '../api/events';
import { members } from '../api/read';
import { isFinal } from '../app/state';
import { CARDS, nameOf } from '../texts/cards';
import type { Board } from './board';
import { type CardCalls, PAGE } from './calls';
import type { KeptDrafts } from './drafts';
import type { KeptHub } from './seen';
import { cardOf, modeOf, NO_CARDS, type Saying, withCard, withLines, withPage } from './state';
import type { Card } from './types';

const POLL_SECONDS = 3;
const RESPONDERS_SECONDS = 15;

export class FollowCards {
  private live = false;
  private reading: Promise<void> | null = null;
  private again = false;
  /** Counts what was written: a list that was asked for before tells of the past. */
  private writes = 0;

  constructor(
    private readonly calls: CardCalls,
    private readonly board: Board,
    private readonly kept: KeptHub,
    private readonly drafts: KeptDrafts,
    /** Called when another session's cards stand there. */
    private readonly turned: () => void,
  ) {}

  /** A second went by: whose cards are these, and does anybody tell of their changes? */
  async tick(now: number): Promise<void> {
    const { session, service, live } = this.board.page.state;
    const usable = session && !isFinal(session) && session.state !== 'pending' && service?.responders.length;
    const id = usable ? session.sessionId : null;
    if (id !== this.board.session) return this.turnTo(id);
    if (!id) return;
    const back = live && !this.live;
    this.live = live;
    if (now % RESPONDERS_SECONDS === 0 && modeOf(this.board.state) !== 'closed') await this.readResponders();
    // Events say it first; asking makes sure of it where none arrive.
    if (back || (!live && now % POLL_SECONDS === 0)) await this.refresh();
  }

  /** Something happened on a card: it touches this store, and no other view. */
  heard({ event, data }: StreamEvent): void {
    const { board } = this;
    const json = members(data);
    if (json.maybe('scope', json.text) !== 'card' || json.maybe('session_id', json.text) !== board.session) return;
    const id = json.text('ref');
    const card = cardOf(board.state, id);
    if (event === 'thinking') {
      const kind = json.maybe('kind', json.text) === 'title' ? 'title' : 'answer';
      board.set({
        saying: { ...board.state.saying, [id]: { kind, text: json.maybe('text', json.text) ?? '' } },
        ...(card && withCard(board.state, { ...card, status: 'running', waiting: Math.max(1, card.waiting) })),
      });
      return;
    }
    if (event === 'changed') return void this.refresh();
    if (card && event !== 'done') board.say(CARDS.wentWrong(nameOf(card)));
    else if (card && json.maybe('kind', json.text) === 'answer') board.say(CARDS.answered(nameOf(card)));
    // What was being said stands there until its line does; what the next turn says by then stays.
    const saying = board.state.saying[id];
    void this.refresh().then(() => this.said(id, saying));
  }

  /** Takes over a card as an answer to a write has it, and reads what else that changed. */
  took(card: Card): void {
    this.writes += 1;
    const { session, state } = this.board;
    // Whoever wrote has seen what stands there.
    const seen = session ? this.kept.saw(session, { ...state.seen, [card.id]: card.lines }) : state.seen;
    this.board.set({ ...withCard(state, card), seen });
    void this.refresh();
  }

  /** Reads list and thread anew; calls that come meanwhile are one more reading. */
  refresh(): Promise<void> {
    this.again = true;
    this.reading ??= this.readAll().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  private async readAll(): Promise<void> {
    try {
      while (this.again) {
        this.again = false;
        await this.read();
      }
    } catch (error) {
      this.board.fail('list', error);
    }
  }

  private async read(): Promise<void> {
    const { board, writes } = this;
    const { session } = board;
    const token = board.token();
    if (!token) return;
    const { filter, shown, lines } = board.state;
    const [page, archived, thread] = await Promise.all([
      this.calls.list(token, false),
      filter.status === 'archived' ? this.calls.list(token, true) : null,
      shown
        ? this.calls
            .thread(token, shown, lines?.at(-1)?.number ?? 0)
            .catch((error) => this.noThread(session, shown, error))
        : null,
    ]);
    if (session !== board.session) return;
    if (writes !== this.writes) {
      this.again = true;
      return;
    }
    const whole = page.length === PAGE;
    const cards = withPage(board.state.cards, page, whole);
    board.set({
      cards,
      // Behind a whole page there may be more, until somebody looked.
      older: whole && (board.state.older || cards.length === PAGE),
      ...(archived && { archived }),
    });
    if (thread && board.state.shown === shown) {
      // Closed and opened again meanwhile, it has none of the lines that these come behind.
      if (board.state.lines !== lines) this.again = true;
      else board.set({ ...withCard(board.state, thread.card), lines: withLines(board.state.lines, thread.lines) });
    }
    this.see(session ?? '');
  }

  /** What is shown counts as read; when a session's cards are first shown here, so does all that is on them. */
  private see(session: string): void {
    const { cards, shown, lines, seen } = this.board.state;
    const known = this.kept.seen(session);
    const first = known ?? Object.fromEntries((cards ?? []).map((card) => [card.id, card.lines]));
    const inSight = shown !== null && lines !== null && modeOf(this.board.state) !== 'closed';
    const now = inSight ? { ...first, [shown]: lines.at(-1)?.number ?? 0 } : first;
    if (known === null || JSON.stringify(now) !== JSON.stringify(seen)) {
      this.board.set({ seen: this.kept.saw(session, now) });
    }
  }

  private said(id: string, text: Saying | undefined): void {
    if (this.board.state.saying[id] !== text) return;
    const { [id]: _, ...saying } = this.board.state.saying;
    this.board.set({ saying });
  }

  private noThread(session: string | null, shown: string, error: unknown): null {
    if (!(error instanceof ApiError) || error.kind !== 'refused') throw error;
    if (this.board.session !== session || this.board.state.shown !== shown) return null;
    this.board.set({ shown: null, card: null, lines: null, sought: null });
    this.board.fail('list', error);
    return null;
  }

  private async turnTo(id: string | null): Promise<void> {
    const before = this.board.session;
    this.board.session = id;
    this.live = false;
    // A page that is only being loaded has no session yet, and must not forget what it wrote for one.
    if (before !== null || (id !== null && this.kept.seen(id) === null)) {
      this.kept.forget();
      this.board.set({ ...NO_CARDS, drafts: this.drafts.forgetCards() });
    }
    if (!id) return;
    // Before anything is waited for: what is begun meanwhile must not be taken for what was before.
    this.turned();
    await this.readResponders();
    await this.refresh();
  }

  private async readResponders(): Promise<void> {
    const token = this.board.token();
    if (!token) return;
    const { session } = this.board;
    try {
      const responders = await this.calls.responders(token);
      if (session === this.board.session) this.board.set({ responders });
    } catch (error) {
      this.board.fail('list', error);
    }
  }
}
