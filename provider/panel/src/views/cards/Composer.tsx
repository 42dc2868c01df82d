/** The input of a card: what is written waits in its draft until it is sent. */

import type { Offer } from '../../api/types';
import { taking } from '../../hub/drag';
import type { Hub } from '../../hub/hub';
import type { HubState } from '../../hub/state';
import type { Card, Responder } from '../../hub/types';
import { CARDS } from '../../texts/cards';
import { Trouble } from './parts';
import { priceOf } from './price';

interface Props {
  readonly card: Card;
  readonly responder: Responder | undefined;
  readonly offer: Offer;
  readonly state: HubState;
  readonly hub: Hub;
}

export function Composer({ card, responder, offer, state, hub }: Props) {
  const text = state.drafts[card.id] ?? '';
  const busy = state.busy.includes(card.id);
  const field = `message-${card.id}`;
  const send = (event: Event) => {
    event.preventDefault();
    if (text.trim()) void hub.send(card.id);
  };
  return (
    <form class="composer" onSubmit={send}>
      <label for={field} class="unseen">
        {CARDS.message}
      </label>
      <div class="line">
        <textarea
          id={field}
          dir="auto"
          rows={2}
          maxLength={16_000}
          placeholder={CARDS.message}
          aria-describedby="card-title card-cost"
          value={text}
          onInput={(event) => hub.draft(card.id, event.currentTarget.value)}
          onKeyDown={(event) => {
            // Enter sends; with Shift it begins a line, and while a script is being composed it chooses.
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) send(event);
          }}
          {...taking((referring) => hub.put(card.id, referring))}
        />
        <button class="main" type="submit" aria-disabled={busy || !text.trim()}>
          {busy ? CARDS.sending : CARDS.send}
        </button>
      </div>
      <p id="card-cost" class="means">
        {responder && (responder.online ? CARDS.perTurn(priceOf(responder, offer)) : CARDS.offlineHint(responder.name))}
      </p>
      <Trouble state={state} of={card.id} />
    </form>
  );
}
