/** Dragging references: out of the hub's rows and lines, into inputs and onto other rows. */

import { referenceIn } from './references';
import type { Referring } from './state';

/** What only this page's own inputs take; others, and other pages, get the reference as text. */
const KIND = 'application/x-retainer-reference';

export function dragged(event: DragEvent, { reference, name }: Referring): void {
  event.dataTransfer?.setData(KIND, JSON.stringify({ reference, name }));
  event.dataTransfer?.setData('text/plain', reference);
  if (event.dataTransfer) event.dataTransfer.effectAllowed = 'copy';
  event.stopPropagation();
}

/** What makes an element take references that are dropped on it. */
export function taking(put: (referring: Referring) => void) {
  const over = (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes(KIND)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    mark(event, true);
  };
  return {
    onDragEnter: over,
    onDragOver: over,
    onDragLeave: (event: DragEvent) => mark(event, false),
    onDrop: (event: DragEvent) => {
      mark(event, false);
      const referring = parse(event.dataTransfer?.getData(KIND));
      if (!referring) return;
      event.preventDefault();
      event.stopPropagation();
      put(referring);
    },
  };
}

function mark({ currentTarget }: DragEvent, on: boolean): void {
  if (currentTarget instanceof HTMLElement) currentTarget.toggleAttribute('data-takes', on);
}

/** Another page may have dragged it here. */
function parse(text: string | undefined): Referring | null {
  try {
    const { reference, name } = JSON.parse(text ?? '');
    return typeof name === 'string' && referenceIn(`#${reference}`) ? { reference, name } : null;
  } catch {
    return null;
  }
}
