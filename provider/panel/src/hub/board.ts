/** The hub's part of the page's store, and whose cards stand there. */

import { ApiError } from '../api/client';
import { MalformedError } from '../api/read';
import type { Keeping } from '../app/keeping';
import type { Store } from '../app/store';
import { cardProblem } from '../texts/cards';
import { TEXTS } from '../texts/en';
import type { HubState } from './state';

export class Board {
  /** The session whose cards these are. */
  session: string | null = null;

  constructor(
    readonly page: Store,
    private readonly keeping: Keeping,
  ) {}

  get state(): HubState {
    return this.page.state.hub;
  }

  set(change: Partial<HubState>): void {
    this.page.set({ hub: { ...this.state, ...change } });
  }

  /** Has screen readers say something. */
  say(said: string): void {
    this.set({ said });
  }

  /** Says what went wrong where it was done; anything but an answer of the API is a mistake of ours and goes on. */
  fail(place: string, error: unknown): void {
    if (error instanceof MalformedError) return this.set({ trouble: { place, text: TEXTS.garbage } });
    if (!(error instanceof ApiError)) throw error;
    // The page itself says that nobody answers, and tries again.
    if (error.kind === 'unreachable') this.page.set({ outage: error.message });
    else this.set({ trouble: { place, text: cardProblem(error) } });
  }

  /** What the session is asked with, read anew each time, as other tabs change it. */
  token(): string | null {
    const kept = this.keeping.read();
    return this.session !== null && kept?.sessionId === this.session ? kept.token : null;
  }
}
