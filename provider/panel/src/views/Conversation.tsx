/** What was asked in this tab, and what came back at what price. */

import { useEffect, useRef } from 'preact/hooks';
import type { Offer } from '../api/types';
import type { Panel } from '../app/panel';
import { isUnderWay, type State, type Turn } from '../app/state';
import { TEXTS } from '../texts/en';
import { Said } from './cards/Said';
import { money } from './money';

export function Conversation({ state, offer, panel }: { state: State; offer: Offer | null; panel: Panel }) {
  const end = useRef<HTMLLIElement>(null);
  const { turns } = state;
  const latest = turns.at(-1)?.outcome;
  useEffect(() => end.current?.scrollIntoView({ block: 'nearest' }), [turns.length, latest]);
  if (turns.length === 0) {
    return (
      <section class="empty" aria-label={TEXTS.conversation}>
        <h2>{TEXTS.empty}</h2>
        <p>{TEXTS.emptyHint}</p>
      </section>
    );
  }
  return (
    <ol class="turns" aria-label={TEXTS.conversation} aria-live="polite">
      {turns.map((turn, at) => (
        <li key={turn.key} aria-busy={isUnderWay(turn)} ref={at === turns.length - 1 ? end : null}>
          <p class="question" dir="auto">
            <Said text={turn.question} hub={panel.hub} state={state.hub} />
          </p>
          <Outcome turn={turn} offer={offer} state={state} panel={panel} />
        </li>
      ))}
    </ol>
  );
}

function Outcome({ turn, offer, state, panel }: { turn: Turn; offer: Offer | null; state: State; panel: Panel }) {
  const { outcome } = turn;
  switch (outcome.kind) {
    case 'running':
      return <p class="answer waiting">{TEXTS.running}</p>;
    case 'unknown':
      return (
        <p class="answer bad">
          {TEXTS.unknown}{' '}
          <button type="button" class="link" onClick={() => void panel.asking.again(turn)}>
            {TEXTS.again}
          </button>
        </p>
      );
    case 'flowing':
      return (
        <div class="answer flowing">
          <p class="text" dir="auto">
            {outcome.text}
          </p>
        </div>
      );
    case 'broken':
      return (
        <div class="answer bad">
          <p class="text" dir="auto">
            {outcome.text}
          </p>
          <p>{TEXTS.brokeOff}</p>
        </div>
      );
    case 'refused':
      return <p class="answer bad">{outcome.why}</p>;
    case 'answered':
      return (
        <div class={`answer ${outcome.failed ? 'bad' : ''}`}>
          {outcome.file ? (
            <p>
              {TEXTS.binary(outcome.file.kind)}{' '}
              <a href={`data:application/octet-stream;base64,${outcome.file.base64}`} download={TEXTS.binaryName}>
                {TEXTS.save}
              </a>
            </p>
          ) : (
            <p class="text" dir="auto">
              {outcome.text ? <Said text={outcome.text} hub={panel.hub} state={state.hub} /> : TEXTS.emptyAnswer}
            </p>
          )}
          {outcome.cut && <p>{outcome.cut}</p>}
          <p class="cost">
            {outcome.broke !== null
              ? TEXTS.freeBroke(outcome.broke)
              : outcome.gift || !offer
                ? TEXTS.free
                : money(outcome.cost, offer)}
          </p>
        </div>
      );
  }
}
