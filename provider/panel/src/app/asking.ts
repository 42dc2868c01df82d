/** Asking: by the session, by the free tier, or led to where one pays. */

import { type Api, ApiError } from '../api/client';
import type { Ended } from '../api/streaming';
import type { Answer } from '../api/types';
import { problemText } from '../texts/en';
import type { Follow } from './follow';
import type { Keeping } from './keeping';
import { pieceOf, readable, requestOf } from './questions';
import { isUnderWay, offerOf, type Turn, type TurnOutcome, wayOf } from './state';
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
    if (isUnderWay(turn)) return;
    this.became(turn, { kind: 'running' });
    await this.send(turn, wayOf(this.store.state).by === 'session');
  }

  private async send(turn: Turn, bySession: boolean): Promise<void> {
    const { service, session } = this.store.state;
    const rule = service && offerOf(service, session?.offerId ?? null)?.ask;
    if (!rule) return;
    const ask = requestOf(rule, turn.question);
    let text = '';
    const heard = (data: string) => {
      text += pieceOf(data, rule.answer);
      this.became(turn, { kind: 'flowing', text });
    };
    try {
      const kept = this.keeping.read();
      const answer =
        bySession && kept?.sessionId
          ? await this.api.request(kept.sessionId, kept.token, turn.key, ask, heard)
          : await this.api.askFree(ask);
      if (!('cut' in answer)) {
        this.became(turn, answered(answer, rule.answer));
        if (answer.session) this.follow.tookSession(answer.session);
      } else {
        this.became(turn, flowed(answer, text));
        await this.follow.restore();
      }
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

function answered({ status, body, binary, charge }: Answer, pointer: string): TurnOutcome {
  return {
    kind: 'answered',
    text: body === null || binary !== null ? '' : readable(body, pointer),
    file: body === null || binary === null ? null : { kind: binary, base64: body },
    cost: charge.amount,
    broke: charge.term,
    gift: charge.kind === 'free-tier',
    cut: null,
    failed: status >= 400,
  };
}

function flowed({ charge, cut }: Ended, text: string): TurnOutcome {
  if (!charge) return { kind: 'broken', text };
  const { amount, term } = charge;
  return { kind: 'answered', text, file: null, cost: amount, broke: term, gift: false, cut, failed: false };
}
