/** One card: its title, what was said, and the input for more. */

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Offer } from '../../api/types';
import type { State } from '../../app/state';
import { NEW_CARD } from '../../hub/drafts';
import { type Hub, ME } from '../../hub/hub';
import { referenceText } from '../../hub/references';
import { cardOf, type HubState } from '../../hub/state';
import type { Card, Responder } from '../../hub/types';
import { CARDS, nameOf } from '../../texts/cards';
import { refocus } from '../focus';
import { money } from '../money';
import { CardTitle } from './CardTitle';
import { Composer } from './Composer';
import { Icon, IconButton } from './icons';
import { Lines } from './Lines';
import { Mark, Trouble } from './parts';
import { priceOf } from './price';

const ARCHIVE = 'archive-card';

interface Props {
  readonly state: State;
  readonly offer: Offer;
  readonly hub: Hub;
  readonly id: string;
}

export function CardThread({ state: page, offer, hub, id }: Props) {
  const { hub: state, now } = page;
  const card = cardOf(state, id);
  const there = card !== null;
  useLayoutEffect(() => {
    // A keyboard on a screen covers what was said: only where there is room does the input take the focus.
    const input = state.room === 'narrow' ? null : document.getElementById(`message-${id}`);
    (input ?? document.getElementById('card-title'))?.focus({ preventScroll: true });
  }, [id, there]);
  if (!card) return <p class="means thread">{CARDS.loading}</p>;

  const responder = state.responders.find(({ name }) => name === card.responder);
  const close = () => {
    hub.closeThread();
    queueMicrotask(() => document.querySelector<HTMLElement>(`[data-card="${id}"] .row`)?.focus());
  };
  return (
    <article class="thread" aria-labelledby="card-title">
      <header>
        <button type="button" class="iconic back" aria-label={CARDS.back} title={CARDS.back} onClick={close}>
          <Icon of="back" />
        </button>
        <CardTitle key={id} card={card} state={state} hub={hub} />
        <Archive key={`archive ${id}`} card={card} state={state} hub={hub} />
        <p class="about">
          <Mark status={card.status} />
          <span>{CARDS.answersBy(card.responder)}</span>
          {responder?.online === false && <span class="offline">{CARDS.offline}</span>}
          <span data-card-spent={card.amount}>{CARDS.spent(money(card.amount, offer))}</span>
        </p>
      </header>
      <Lines card={card} state={state} now={now} hub={hub} />
      <Gate card={card} responder={responder} offer={offer} />
      <Failure card={card} state={state} hub={hub} />
      {card.status === 'archived' ? (
        <Archived card={card} hub={hub} />
      ) : (
        <Composer card={card} responder={responder} offer={offer} state={state} hub={hub} />
      )}
    </article>
  );
}

/** What a card without a title means for whoever writes on it. */
function Gate({ card, responder, offer }: { card: Card; responder: Responder | undefined; offer: Offer }) {
  if (card.title !== null || card.status === 'archived' || card.status === 'error' || !responder) return null;
  return (
    <p class="gate">{card.creator === ME ? CARDS.gate(priceOf(responder, offer)) : CARDS.gateOthers(card.creator)}</p>
  );
}

function Failure({ card, state, hub }: { card: Card; state: HubState; hub: Hub }) {
  if (card.status !== 'error') return null;
  const busy = state.busy.includes(`retry ${card.id}`);
  const retry = async () => {
    // This button goes, and would take the focus with it.
    if (await hub.retry(card.id)) refocus('card-title');
  };
  return (
    <div class="failure" role="alert">
      <p>
        <strong>{CARDS.failed}.</strong> {card.lastError}
      </p>
      <button type="button" aria-disabled={busy} onClick={() => void retry()}>
        {busy ? CARDS.retrying : CARDS.retry}
      </button>
      <Trouble state={state} of={`retry ${card.id}`} />
    </div>
  );
}

/** Putting a card away is for good, and is asked for twice. */
function Archive({ card, state, hub }: { card: Card; state: HubState; hub: Hub }) {
  const [sure, setSure] = useState<boolean | null>(null);
  const asked = useRef<HTMLDivElement>(null);
  // Each of the two takes the other's place, and the focus with it: before anybody can press the next key.
  useLayoutEffect(() => {
    if (sure) asked.current?.focus();
    else if (sure === false) document.getElementById(ARCHIVE)?.focus();
  }, [sure]);
  if (card.status === 'archived') return null;
  if (!sure) return <IconButton of="archive" id={ARCHIVE} name={CARDS.archive} act={() => setSure(true)} />;
  const archive = async () => {
    if (await hub.archive(card.id)) refocus('hub-title');
  };
  return (
    <div
      class="sure"
      role="group"
      aria-label={CARDS.archive}
      aria-describedby="archive-means"
      tabIndex={-1}
      ref={asked}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.preventDefault();
        setSure(false);
      }}
    >
      <p id="archive-means">{CARDS.archiveSure}</p>
      <button type="button" class="main" onClick={() => void archive()}>
        {CARDS.archiveNow}
      </button>
      <button type="button" onClick={() => setSure(false)}>
        {CARDS.cancel}
      </button>
      <Trouble state={state} of={`archive ${card.id}`} />
    </div>
  );
}

function Archived({ card, hub }: { card: Card; hub: Hub }) {
  const goOn = () => {
    hub.put(NEW_CARD, { reference: referenceText({ card: card.id, line: null }), name: nameOf(card) });
    hub.closeThread();
    queueMicrotask(() => document.getElementById('new-card')?.focus());
  };
  return (
    <div class="failure">
      <p>{CARDS.archived}</p>
      <button type="button" onClick={goOn}>
        {CARDS.goOn}
      </button>
    </div>
  );
}
