/** Where the focus goes when what had it is gone, or leads elsewhere: keyboards and readers follow it. */

import type { Panel } from '../app/panel';
import type { State } from '../app/state';

/** To the element of that id, once all is drawn, unless the person has put it somewhere meanwhile. */
export function refocus(id: string): void {
  requestAnimationFrame(() => {
    if (document.activeElement === document.body) document.getElementById(id)?.focus();
  });
}

/** To where an amount is chosen, from wherever one is; an invoice that stands there is to be read first. */
export function toFunding(state: State, panel: Panel): void {
  if (!state.invoice && state.sheet !== 'offer') panel.show('offer');
  requestAnimationFrame(() => {
    const amount = document.getElementById('amount');
    (amount ?? document.querySelector<HTMLElement>('.sheet h2'))?.focus();
  });
}
