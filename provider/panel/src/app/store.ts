/** The state of the page and who is told of its changes. */

import { ApiError } from '../api/client';
import { MalformedError } from '../api/read';
import { problemText, TEXTS, walletText } from '../texts/en';
import type { Outcome } from '../wallet/outcomes';
import { standingOf, START, type State } from './state';

export class Store {
  state: State = START;
  /** What `during` runs; null once that is over for the person. */
  private running: object | null = null;

  constructor(private readonly changed: (state: State) => void) {}

  set(change: Partial<State>): void {
    const before = this.state;
    this.state = { ...before, ...change };
    // Good news is about how the session stood: it goes when that changes.
    const { session, notice, now } = this.state;
    const changed = before.session && session && standingOf(before.session, before.now) !== standingOf(session, now);
    if (changed && notice?.tone === 'good' && notice === before.notice) this.state = { ...this.state, notice: null };
    this.changed(this.state);
  }

  /**
   * Runs `act` unless something else runs; what goes wrong is said. A second click does nothing. A wallet may take any
   * time to answer: `still` says whether the person still waits for it, or has begun with something else.
   */
  async during(busy: NonNullable<State['busy']>, act: (still: () => boolean) => Promise<void>): Promise<void> {
    if (this.state.busy) return;
    const running = {};
    const still = () => this.running === running;
    this.running = running;
    this.set({ busy, notice: null });
    try {
      await act(still);
    } catch (error) {
      if (still() || !isTold(error)) this.fail(error);
    } finally {
      if (still()) this.release();
    }
  }

  /** What runs has come to its end, though its own answer is still under way: something else may begin. */
  release(): void {
    this.running = null;
    this.set({ busy: null });
  }

  /** Says what went wrong; anything but an answer of the API is a mistake of ours and goes on. */
  fail(error: unknown): void {
    if (!isTold(error)) throw error;
    if (error instanceof MalformedError) return this.say(TEXTS.garbage, 'bad');
    if (error.kind === 'unreachable') this.set({ outage: error.message });
    this.set({ notice: { tone: 'bad', text: problemText(error) } });
  }

  /** Why a wallet did not do what it was asked for. */
  sayWallet(outcome: Exclude<Outcome<never>, { kind: 'done' }>): void {
    this.say(walletText(outcome, this.state.service?.network ?? ''), 'bad');
  }

  say(text: string, tone: 'info' | 'good' | 'bad' = 'info'): void {
    this.set({ notice: { tone, text } });
  }

  /** What the provider said by answering at all. */
  reached(): void {
    if (this.state.outage !== null) this.set({ outage: null, notice: { tone: 'good', text: TEXTS.backAgain } });
  }
}

/** Whether the provider's answer, or that there was none, is what went wrong: people are told of that. */
function isTold(error: unknown): error is ApiError | MalformedError {
  return error instanceof ApiError || error instanceof MalformedError;
}
