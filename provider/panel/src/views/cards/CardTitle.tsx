/** A card's title, changed where it stands. */

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Hub } from '../../hub/hub';
import type { HubState } from '../../hub/state';
import { isSendable, judgeTitle } from '../../hub/titles';
import type { Card } from '../../hub/types';
import { CARDS } from '../../texts/cards';
import { IconButton } from './icons';
import { Trouble } from './parts';
import { TitleRoom } from './TitleRoom';

export function CardTitle({ card, state, hub }: { card: Card; state: HubState; hub: Hub }) {
  const [typed, setTyped] = useState<string | null>(null);
  const field = useRef<HTMLInputElement>(null);
  const editing = typed !== null;
  const judged = judgeTitle(typed ?? '');
  useLayoutEffect(() => {
    if (!editing) return;
    field.current?.focus();
    field.current?.select();
  }, [editing]);

  const done = () => {
    setTyped(null);
    queueMicrotask(() => document.getElementById('card-title')?.focus());
  };
  const save = async (event: Event) => {
    event.preventDefault();
    const title = (typed ?? '').trim();
    if (title === (card.title ?? '')) return done();
    if (judged.is !== 'fitting' || !(await hub.retitle(card.id, title))) return;
    // Whoever has gone elsewhere meanwhile, or types on, is not called back.
    const here = field.current?.form?.contains(document.activeElement);
    setTyped((now) => (now === typed ? null : now));
    if (here && field.current?.value === typed) queueMicrotask(() => document.getElementById('card-title')?.focus());
  };
  if (!editing) {
    return (
      <div class="title">
        <h3 id="card-title" dir="auto" tabIndex={-1} data-untitled={card.title === null || undefined}>
          {card.title ?? CARDS.untitled}
        </h3>
        {card.status !== 'archived' && (
          <IconButton
            of="edit"
            name={card.title === null ? CARDS.giveTitle : CARDS.editTitle}
            act={() => setTyped(card.title ?? '')}
          />
        )}
      </div>
    );
  }
  return (
    <form
      class="title editing"
      onSubmit={(event) => void save(event)}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.preventDefault();
        done();
      }}
    >
      <div class="line">
        <input
          ref={field}
          dir="auto"
          aria-label={CARDS.titleLabel}
          aria-describedby="title-room"
          aria-invalid={!isSendable(judged) || undefined}
          autocomplete="off"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <button
          type="submit"
          class="main"
          aria-disabled={state.busy.includes(`title ${card.id}`) || judged.is !== 'fitting'}
        >
          {CARDS.saveTitle}
        </button>
        <button type="button" onClick={done}>
          {CARDS.cancel}
        </button>
      </div>
      <TitleRoom id="title-room" judged={judged} />
      <Trouble state={state} of={`title ${card.id}`} />
    </form>
  );
}
