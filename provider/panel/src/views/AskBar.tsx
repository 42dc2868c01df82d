/** The input bar: it says what pays for the next question, and leads to paying where nothing does. */

import type { Offer } from '../api/types';
import type { Panel } from '../app/panel';
import { isUnderWay, type State, type Way, wayOf } from '../app/state';
import { QUESTION } from '../hub/drafts';
import { taking } from '../hub/drag';
import { TEXTS, wayText } from '../texts/en';
import { money } from './money';
import { toFunding } from './focus';

interface Props {
  readonly state: State;
  readonly offer: Offer | null;
  readonly panel: Panel;
}

export function AskBar({ state, offer, panel }: Props) {
  const text = state.hub.drafts[QUESTION] ?? '';
  const way = wayOf(state);
  const running = state.turns.some(isUnderWay);
  const waits = way.by === 'wait' || running;

  const submit = (event: Event) => {
    event.preventDefault();
    const question = text.trim();
    if (waits) return;
    if (way.by === 'topup') return panel.show('topup');
    if (way.by === 'close') return void panel.previewClose();
    if (way.by === 'funding') return toFunding(state, panel);
    if (question === '') return;
    panel.hub.draft(QUESTION, '');
    void panel.asking.ask(question);
  };

  return (
    <form class="ask" onSubmit={submit}>
      <label for="question">{TEXTS.question}</label>
      <div>
        <input
          id="question"
          dir="auto"
          autocomplete="off"
          maxLength={4000}
          value={text}
          aria-describedby="way"
          onInput={(event) => panel.hub.draft(QUESTION, event.currentTarget.value)}
          {...taking((referring) => panel.hub.put(QUESTION, referring))}
        />
        <button class="main" type="submit" aria-disabled={waits}>
          {label(way)}
        </button>
      </div>
      <p id="way" data-way={way.by}>
        {wayText(way, offer ? money(offer.price, offer) : '', running)}
      </p>
    </form>
  );
}

function label(way: Way): string {
  if (way.by === 'topup') return TEXTS.topUp;
  if (way.by === 'close') return TEXTS.closeShort;
  return way.by === 'funding' ? TEXTS.offer : TEXTS.ask;
}
