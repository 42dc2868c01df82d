/** Asking: by the session, by the free tier, or led to where one pays. */

import { type Api, ApiError } from '../api/client';
import type { Answer, Ask } from '../api/types';
import { problemText } from '../texts/en';
import type { Follow } from './follow';
import type { Keeping } from './keeping';
import { askPath, offerOf, type Turn, type TurnOutcome, wayOf } from './state';
import type { Store } from './store';

export class Asking {
  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly keeping: Keeping,
    private readonly follow: Follow,
  ) {}

  /** Asks, where something pays for it; nothing happens otherwise. */
  async ask(question: string): Promise<void> {
    const { by } = wayOf(this.store.state);
    if (by !== 'session' && by !== 'free' && by !== 'nothing') return;
    const turn: Turn = { key: crypto.randomUUID(), question, outcome: { kind: 'running' } };
    this.store.set({ turns: [...this.store.state.turns, turn], notice: null });
    await this.send(turn, by === 'session');
  }

  /** The same question with the same key: it is charged once, whether or not the first one arrived. */
  async again(turn: Turn): Promise<void> {
    if (turn.outcome.kind === 'running') return;
    this.became(turn, { kind: 'running' });
    await this.send(turn, wayOf(this.store.state).by === 'session');
  }

  private async send(turn: Turn, bySession: boolean): Promise<void> {
    const { service, session } = this.store.state;
    if (!service) return;
    const ask: Ask = {
      method: 'POST',
      path: askPath(service, offerOf(service, session?.offerId ?? null)),
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ question: turn.question }),
    };
    try {
      const kept = this.keeping.read();
      const answer =
        bySession && kept?.sessionId
          ? await this.api.request(kept.sessionId, kept.token, turn.key, ask)
          : await this.api.askFree(ask);
      this.became(turn, answered(answer));
      if (answer.session) this.follow.tookSession(answer.session);
      this.store.reached();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === 'refused') {
        this.became(turn, { kind: 'refused', why: problemText(error) });
        // The balance may have changed under us: read it instead of guessing.
        await this.follow.restore();
      } else {
        this.became(turn, { kind: 'unknown' });
        if (error.kind === 'unreachable') this.store.set({ outage: error.message });
      }
    }
    await this.follow.look();
  }

  private became(turn: Turn, outcome: TurnOutcome): void {
    const turns = this.store.state.turns.map((one) => (one.key === turn.key ? { ...one, outcome } : one));
    this.store.set({ turns });
  }
}

function answered({ status, body, charge }: Answer): TurnOutcome {
  return {
    kind: 'answered',
    text: readable(body),
    cost: charge.amount,
    broke: charge.term,
    gift: charge.kind === 'free-tier',
    failed: status >= 400,
  };
}

/** The answer in an answer: the text of a JSON object's `answer`, else all of it. */
export function readable(body: string | null): string {
  if (body === null) return '';
  try {
    const json: unknown = JSON.parse(body);
    const answer = typeof json === 'object' && json !== null ? (json as Record<string, unknown>).answer : null;
    return typeof answer === 'string' ? answer : JSON.stringify(json, null, 2);
  } catch {
    return body;
  }
}
