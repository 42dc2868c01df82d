/** Opens the hub, and says from outside what is new in it. */

import type { Hub } from '../../hub/hub';
import { type HubState, marks, modeOf } from '../../hub/state';
import { CARDS } from '../../texts/cards';
import { Icon } from './icons';

/** Where the focus goes when the hub closes. */
export const HUB_BUTTON = 'hub-button';

export function HubButton({ state, hub }: { state: HubState; hub: Hub }) {
  const told = marks(state);
  return (
    <button
      type="button"
      class="hub-button"
      id={HUB_BUTTON}
      aria-expanded={modeOf(state) !== 'closed'}
      aria-controls="hub"
      aria-keyshortcuts="Control+K"
      aria-label={CARDS.show(told)}
      title={`${CARDS.show(told)} (${CARDS.hubKeys})`}
      data-mark={told.failed ? 'error' : told.running ? 'running' : undefined}
      onClick={() => hub.toggle()}
    >
      <Icon of="cards" />
      <span>{CARDS.hub}</span>
      {told.fresh > 0 && <span class="count">{told.fresh}</span>}
    </button>
  );
}
