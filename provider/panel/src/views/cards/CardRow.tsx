/** One card of the list: it opens, is dragged to refer to it, and takes references for its draft. */

import { dragged, taking } from '../../hub/drag';
import type { Hub } from '../../hub/hub';
import { referenceText } from '../../hub/references';
import { type HubState, unread } from '../../hub/state';
import type { Card } from '../../hub/types';
import { CARD_STATUS_NAMES, CARDS, nameOf } from '../../texts/cards';
import { IconButton } from './icons';
import { Mark, When } from './parts';
import { inWords } from './Said';

interface Props {
  readonly card: Card;
  readonly state: HubState;
  readonly now: number;
  readonly hub: Hub;
}

export function CardRow({ card, state, now, hub }: Props) {
  const referring = { reference: referenceText({ card: card.id, line: null }), name: nameOf(card) };
  const current = state.shown === card.id;
  const fresh = current ? 0 : unread(card, state.seen);
  const quiet = card.status === 'active' || card.status === 'archived';
  const takes = card.status !== 'archived' && taking((dropped) => hub.put(card.id, dropped));
  return (
    <li
      class="card"
      draggable
      data-card={card.id}
      data-status={card.status}
      onDragStart={(event) => dragged(event, referring)}
      {...takes}
    >
      <button type="button" class="row" aria-current={current || undefined} onClick={() => hub.open(card.id)}>
        <Mark status={card.status} />
        <span class={`name ${fresh ? 'fresh' : ''}`} dir="auto">
          {card.title ?? <em>{CARDS.untitled}</em>}
        </span>
        <When at={card.updatedAt} now={now} />
        <span class="preview" dir="auto">
          {inWords(card.preview, state) || CARDS.empty}
        </span>
        <span class="meta">
          <span>{card.responder}</span>
          {!quiet && <span class="state">{CARD_STATUS_NAMES[card.status]}</span>}
          {state.drafts[card.id] && <span class="tag">{CARDS.draft}</span>}
          {fresh > 0 && <span class="count">{CARDS.newLines(fresh)}</span>}
        </span>
      </button>
      <IconButton of="refer" name={CARDS.refer(referring.name)} act={() => hub.refer(referring)} />
    </li>
  );
}
