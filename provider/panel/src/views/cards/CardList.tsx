/** All cards, with what makes a new one on top. */

import type { Offer, Session } from '../../api/types';
import type { State } from '../../app/state';
import type { Hub } from '../../hub/hub';
import { type Filter, listed, NO_FILTER } from '../../hub/state';
import { CARD_STATUSES } from '../../hub/types';
import { CARD_STATUS_NAMES, CARDS } from '../../texts/cards';
import { CardRow } from './CardRow';
import { NewCard } from './NewCard';
import { Trouble } from './parts';

interface Props {
  readonly state: State;
  readonly session: Session;
  readonly offer: Offer;
  readonly hub: Hub;
}

export function CardList({ state: page, session, offer, hub }: Props) {
  const { hub: state, now } = page;
  const cards = listed(state);
  const { filter } = state;
  const filtered = filter.text.trim() !== '' || filter.status !== 'all';
  return (
    <div class="list">
      <NewCard state={state} session={session} offer={offer} hub={hub} />
      <search class="filter">
        <input
          type="search"
          aria-label={CARDS.find}
          placeholder={CARDS.find}
          value={filter.text}
          onInput={(event) => hub.filter({ text: event.currentTarget.value })}
        />
        <select
          aria-label={CARDS.status}
          value={filter.status}
          onChange={(event) => hub.filter({ status: event.currentTarget.value as Filter['status'] })}
        >
          <option value="all">{CARDS.everything}</option>
          {CARD_STATUSES.map((status) => (
            <option key={status} value={status}>
              {CARD_STATUS_NAMES[status]}
            </option>
          ))}
        </select>
      </search>
      <Trouble state={state} of="list" />
      {cards === null ? (
        <p class="means">{CARDS.loading}</p>
      ) : cards.length > 0 ? (
        <ul class="rows" aria-label={CARDS.list} onKeyDown={step}>
          {cards.map((card) => (
            <CardRow key={card.id} card={card} state={state} now={now} hub={hub} />
          ))}
          {state.older && filter.status !== 'archived' && (
            <li>
              <button type="button" class="plain" onClick={() => void hub.older()}>
                {CARDS.older}
              </button>
            </li>
          )}
        </ul>
      ) : filtered ? (
        <div class="nothing">
          <p>{filter.status === 'archived' && !filter.text ? CARDS.noneArchived : CARDS.noneFits}</p>
          <button type="button" class="plain" onClick={() => hub.filter(NO_FILTER)}>
            {CARDS.showAll}
          </button>
        </div>
      ) : (
        <div class="nothing">
          <h3>{CARDS.none}</h3>
          <p>{CARDS.noneHint}</p>
        </div>
      )}
    </div>
  );
}

/** Up and down go from row to row. */
function step(event: KeyboardEvent): void {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  const rows = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('.row')];
  const at = rows.findIndex((row) => row.parentElement?.contains(document.activeElement));
  rows[at + (event.key === 'ArrowDown' ? 1 : -1)]?.focus();
  event.preventDefault();
}
