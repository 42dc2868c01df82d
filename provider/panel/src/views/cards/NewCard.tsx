/** A card in a second: one field, and what it will cost. */

import { useState } from 'preact/hooks';
import type { Offer, Session } from '../../api/types';
import { NEW_CARD } from '../../hub/drafts';
import { taking } from '../../hub/drag';
import type { Hub } from '../../hub/hub';
import type { HubState } from '../../hub/state';
import { isSendable, judgeTitle } from '../../hub/titles';
import type { Responder } from '../../hub/types';
import { CARDS } from '../../texts/cards';
import { Trouble } from './parts';
import { priceOf } from './price';
import { TitleRoom } from './TitleRoom';

interface Props {
  readonly state: HubState;
  readonly session: Session;
  readonly offer: Offer;
  readonly hub: Hub;
}

export function NewCard({ state, session, offer, hub }: Props) {
  const [chosen, setChosen] = useState('');
  const [title, setTitle] = useState('');
  const answering = state.responders.filter((one) => one.offer === session.offerId);
  const responder = answering.find(({ name }) => name === chosen) ?? answering[0];
  const text = state.drafts[NEW_CARD] ?? '';
  const busy = state.busy.includes(NEW_CARD);
  const judged = judgeTitle(title);
  const ready = text.trim() !== '' && isSendable(judged);
  if (!responder) return <p class="nothing">{CARDS.otherOffer}</p>;

  const submit = async (event: Event) => {
    event.preventDefault();
    if (ready && (await hub.create(responder.name, title))) setTitle((now) => (now === title ? '' : now));
  };
  return (
    <form class="new-card" onSubmit={(event) => void submit(event)}>
      <label for="new-card" class="unseen">
        {CARDS.freshPlaceholder}
      </label>
      <div class="line">
        <input
          id="new-card"
          dir="auto"
          autocomplete="off"
          maxLength={4000}
          placeholder={CARDS.freshPlaceholder}
          aria-describedby="new-card-cost"
          value={text}
          onInput={(event) => hub.draft(NEW_CARD, event.currentTarget.value)}
          {...taking((referring) => hub.put(NEW_CARD, referring))}
        />
        <button class="main" type="submit" aria-disabled={busy || !ready}>
          {busy ? CARDS.starting : CARDS.start}
        </button>
      </div>
      {text.trim() && answering.length > 1 && (
        <fieldset class="who">
          <legend class="unseen">{CARDS.who}</legend>
          {answering.map((one) => (
            <label key={one.name} data-online={one.online || undefined}>
              <input
                type="radio"
                name="responder"
                checked={one.name === responder.name}
                onChange={() => setChosen(one.name)}
              />
              <span>
                {one.name}
                {!one.online && <small> {CARDS.offline}</small>}
              </span>
            </label>
          ))}
        </fieldset>
      )}
      {text.trim() && (
        <>
          <label for="new-title" class="unseen">
            {CARDS.titleToo}
          </label>
          <input
            id="new-title"
            dir="auto"
            aria-describedby="new-title-room"
            aria-invalid={!isSendable(judged) || undefined}
            autocomplete="off"
            placeholder={CARDS.titleOptional}
            value={title}
            onInput={(event) => setTitle(event.currentTarget.value)}
          />
          <TitleRoom id="new-title-room" judged={judged} />
        </>
      )}
      {text.trim() && (
        <p id="new-card-cost" class="means">
          {responder.online ? costText(responder, offer, title.trim() !== '') : CARDS.offlineHint(responder.name)}
        </p>
      )}
      <Trouble state={state} of={NEW_CARD} />
    </form>
  );
}

function costText(responder: Responder, offer: Offer, titled: boolean): string {
  const turn = priceOf(responder, offer);
  if (titled) return CARDS.costWithTitle(responder.name, turn);
  return CARDS.costWithoutTitle(responder.name, turn, priceOf(responder, offer, 2n));
}
