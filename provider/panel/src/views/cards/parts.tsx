/** Small parts that the hub's views share. */

import type { HubState } from '../../hub/state';
import type { CardStatus } from '../../hub/types';
import { CARD_STATUS_NAMES, when } from '../../texts/cards';

/** What a card is doing, as a mark with its name. */
export function Mark({ status }: { status: CardStatus }) {
  return (
    <span class="mark" data-status={status} title={CARD_STATUS_NAMES[status]}>
      <span class="unseen">{CARD_STATUS_NAMES[status]}</span>
    </span>
  );
}

export function When({ at, now }: { at: number; now: number }) {
  const exact = new Date(at * 1000);
  return (
    <time dateTime={exact.toISOString()} title={exact.toLocaleString('en-GB')}>
      {when(at, now)}
    </time>
  );
}

/** What went wrong, where it was done. */
export function Trouble({ state, of }: { state: HubState; of: string }) {
  if (state.trouble?.place !== of) return null;
  return (
    <p class="wrong" role="alert">
      {state.trouble.text}
    </p>
  );
}
