/** Where a reference is to go: what dragging does, for keyboards and fingers. */

import { useLayoutEffect, useRef } from 'preact/hooks';
import { NEW_CARD, QUESTION } from '../../hub/drafts';
import type { Hub } from '../../hub/hub';
import { type HubState, modeOf } from '../../hub/state';
import { CARDS, nameOf } from '../../texts/cards';

const CARDS_OFFERED = 6;

export function ReferBar({ state, hub }: { state: HubState; hub: Hub }) {
  const { referring, cards } = state;
  const first = useRef<HTMLButtonElement>(null);
  const from = useRef<Element | null>(null);
  useLayoutEffect(() => {
    if (!referring) return;
    from.current = document.activeElement;
    first.current?.focus();
  }, [referring]);
  if (!referring) return null;

  const put = (place: string) => {
    hub.put(place, referring);
    if (place === QUESTION && modeOf(state) === 'covering') hub.hide();
    const input = place === QUESTION ? 'question' : place === NEW_CARD ? 'new-card' : `message-${place}`;
    const target = document.getElementById(input) ?? from.current;
    if (target instanceof HTMLElement) target.focus();
  };
  const cancel = () => {
    hub.refer(null);
    if (from.current instanceof HTMLElement) from.current.focus();
  };
  const others = (cards ?? []).filter(({ id }) => !referring.reference.includes(id) || id === state.shown);
  const sorted = others.sort((a, b) => Number(b.id === state.shown) - Number(a.id === state.shown));
  return (
    <div class="refer" role="group" aria-label={CARDS.referTo(referring.name)}>
      <p>{CARDS.referTo(referring.name)}</p>
      <div>
        <button type="button" ref={first} onClick={() => put(QUESTION)}>
          {CARDS.toQuestion}
        </button>
        <button type="button" onClick={() => put(NEW_CARD)}>
          {CARDS.toNew}
        </button>
        {sorted.slice(0, CARDS_OFFERED).map((card) => (
          <button key={card.id} type="button" onClick={() => put(card.id)}>
            {nameOf(card)}
          </button>
        ))}
        <button type="button" class="plain" onClick={cancel}>
          {CARDS.cancel}
        </button>
      </div>
    </div>
  );
}
