/** The hub: cards beside or above the conversation, in a list and one by one. */

import { useLayoutEffect, useRef } from 'preact/hooks';
import { offerOf, type State } from '../../app/state';
import type { Panel } from '../../app/panel';
import { modeOf } from '../../hub/state';
import { CARDS } from '../../texts/cards';
import { TEXTS } from '../../texts/en';
import { money } from '../money';
import { toFunding } from '../focus';
import { CardList } from './CardList';
import { CardThread } from './CardThread';
import { HUB_BUTTON } from './HubButton';
import { IconButton } from './icons';
import { ReferBar } from './ReferBar';

interface Props {
  readonly state: State;
  readonly panel: Panel;
}

export function HubPanel({ state, panel }: Props) {
  const { hub } = state;
  const mode = modeOf(hub);
  const heading = useRef<HTMLHeadingElement>(null);
  // Whoever opened it goes on in it; one that was pinned before takes no focus at the first load.
  useLayoutEffect(() => {
    if (hub.open) (document.getElementById('new-card') ?? heading.current)?.focus();
  }, [hub.open]);

  const hide = () => {
    panel.hub.hide();
    document.getElementById(HUB_BUTTON)?.focus();
  };
  const escape = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' || event.defaultPrevented) return;
    if (hub.referring) panel.hub.refer(null);
    else if (mode === 'covering' && hub.shown) panel.hub.closeThread();
    else if (mode !== 'pinned') hide();
  };
  const offer = state.service && offerOf(state.service, state.session?.offerId ?? null);
  return (
    <section
      class="hub"
      id="hub"
      role={mode === 'pinned' ? undefined : 'dialog'}
      aria-modal={mode === 'covering' || undefined}
      aria-labelledby="hub-title"
      data-mode={mode}
      data-thread={hub.shown !== null || undefined}
      onKeyDown={escape}
    >
      <header>
        <h2 id="hub-title" ref={heading} tabIndex={-1}>
          {CARDS.hub}
        </h2>
        {offer && state.session && <p data-hub="balance">{CARDS.left(money(state.session.remaining, offer))}</p>}
        {hub.room === 'wide' && (
          <IconButton
            of="pin"
            name={mode === 'pinned' ? CARDS.unpin : CARDS.pin}
            pressed={mode === 'pinned'}
            act={() => panel.hub.pin(mode !== 'pinned')}
          />
        )}
        <IconButton of="close" name={CARDS.hide} act={hide} />
      </header>
      {/* What the page says of it is covered, wholly or in part. */}
      {mode !== 'pinned' && state.outage !== null && (
        <p class="outage" role={mode === 'covering' ? 'status' : undefined}>
          {TEXTS.outage} <a href="./exit.html">{TEXTS.exit}</a>.
        </p>
      )}
      {state.session && offer && hub.responders.length > 0 ? (
        <div class="panes">
          <CardList state={state} session={state.session} offer={offer} hub={panel.hub} />
          {hub.shown !== null && <CardThread state={state} offer={offer} hub={panel.hub} id={hub.shown} />}
        </div>
      ) : (
        <NoCards state={state} panel={panel} />
      )}
      <ReferBar state={hub} hub={panel.hub} />
      <p class="unseen" role="status" aria-live="polite">
        {hub.said}
      </p>
    </section>
  );
}

/** Nothing pays for cards yet. */
function NoCards({ state, panel }: Props) {
  const paid = state.session !== null && state.hub.cards === null && state.hub.responders.length === 0;
  const fund = () => {
    panel.hub.hide();
    toFunding(state, panel);
  };
  if (paid && state.session?.state === 'active') return <p class="nothing">{CARDS.loading}</p>;
  return (
    <div class="nothing">
      <h3>{CARDS.noSession}</h3>
      <p>{CARDS.noSessionHint}</p>
      <button type="button" class="main" onClick={fund}>
        {CARDS.toFunding}
      </button>
    </div>
  );
}
