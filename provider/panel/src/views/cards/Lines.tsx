/** What was said on a card: numbered lines, and what is being said. */

import { useEffect, useRef } from 'preact/hooks';
import { dragged } from '../../hub/drag';
import { type Hub, ME } from '../../hub/hub';
import { referenceText } from '../../hub/references';
import type { HubState } from '../../hub/state';
import type { Card, Line } from '../../hub/types';
import { CARDS, nameOf } from '../../texts/cards';
import { IconButton } from './icons';
import { When } from './parts';
import { Said } from './Said';

interface Props {
  readonly card: Card;
  readonly state: HubState;
  readonly now: number;
  readonly hub: Hub;
}

export function Lines({ card, state, now, hub }: Props) {
  const list = useRef<HTMLOListElement>(null);
  const { lines, sought } = state;
  // An answer that has become a line, or failed, is not being said any more.
  const saying = card.waiting > 0 && card.status !== 'error' ? state.saying[card.id] : undefined;
  const count = lines?.length ?? 0;
  useEffect(() => {
    // A line that a link led to, else the latest.
    if (sought !== null) document.getElementById(`line-${sought}`)?.scrollIntoView({ block: 'center' });
    else list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [count, sought, saying?.text, card.id]);

  if (lines === null) return <p class="means lines">{CARDS.loading}</p>;
  return (
    <ol class="lines" ref={list} aria-label={CARDS.thread} aria-live="polite" tabIndex={0}>
      {count === 0 && <li class="means">{CARDS.empty}</li>}
      {lines.map((line) => (
        <LineView key={line.number} line={line} card={card} state={state} now={now} hub={hub} />
      ))}
      {saying ? (
        <li class="said responder saying" aria-busy="true">
          <p class="by">{card.responder}</p>
          <p class="body" dir="auto">
            {saying.text || (saying.kind === 'title' ? CARDS.titling : CARDS.thinking)}
          </p>
        </li>
      ) : (
        card.waiting > 0 && <li class="means waiting">{CARDS.waits(card.waiting)}</li>
      )}
    </ol>
  );
}

function LineView({ line, card, state, now, hub }: Props & { line: Line }) {
  const reference = referenceText({ card: card.id, line: line.number });
  const referring = { reference, name: CARDS.nameLine(nameOf(card), line.number) };
  const author = line.role === 'person' && line.author === ME ? CARDS.you : line.author;
  return (
    <li
      class={`said ${line.role}`}
      id={`line-${line.number}`}
      data-line={line.number}
      data-sought={state.sought === line.number || undefined}
    >
      <p class="by">
        <span
          class="number"
          draggable
          title={CARDS.line(line.number)}
          onDragStart={(event) => dragged(event, referring)}
        >
          {line.number}
        </span>
        <span>{author}</span>
        <When at={line.at} now={now} />
        <IconButton of="refer" name={CARDS.refer(referring.name)} act={() => hub.refer(referring)} />
      </p>
      <p class="body" dir="auto">
        <Said text={line.body} hub={hub} state={state} previews={line.previews} />
      </p>
    </li>
  );
}
