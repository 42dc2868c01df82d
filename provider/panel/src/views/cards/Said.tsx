/** A text in which references to cards are links that show what they lead to. */

import type { Hub } from '../../hub/hub';
import { pieces, type Reference, referenceText } from '../../hub/references';
import { cardOf, type HubState } from '../../hub/state';
import type { Card } from '../../hub/types';
import { CARDS } from '../../texts/cards';

interface Props {
  readonly text: string;
  readonly hub: Hub;
  readonly state: HubState;
  readonly previews?: ReadonlyMap<string, string | null>;
}

export function Said({ text, hub, state, previews }: Props) {
  return (
    <>
      {pieces(text).map(({ text: piece, refers }, at) => {
        if (!refers) return piece;
        const key = `${at} ${piece}`;
        const preview = previewOf(refers, state, previews);
        if (preview === null) {
          return (
            <span key={key} class="reference lost" title={CARDS.unknownReference}>
              {piece}
            </span>
          );
        }
        return (
          <a
            key={key}
            class="reference"
            href={`#${referenceText(refers)}`}
            title={referenceText(refers)}
            onClick={(event) => {
              event.preventDefault();
              hub.open(refers.card, refers.line);
            }}
          >
            {preview || piece}
            {refers.line !== null && <small> L{refers.line}</small>}
          </a>
        );
      })}
    </>
  );
}

/** The text with the names of cards instead of references, where nothing can be a link. */
export function inWords(text: string, state: HubState): string {
  return pieces(text)
    .map(({ text: piece, refers }) => (refers && previewOf(refers, state)) || piece)
    .join('');
}

function nameIn(card: Card | null): string {
  return card?.title ?? card?.preview ?? '';
}

/** What it leads to: null where the provider said that it leads nowhere, empty where nobody has said anything. */
function previewOf(refers: Reference, state: HubState, previews?: ReadonlyMap<string, string | null>): string | null {
  const told = previews?.get(referenceText(refers));
  const card = cardOf(state, refers.card);
  // Of very many references the provider looks up the first only; the list may know better.
  if (told === null && refers.line === null && card) return nameIn(card);
  return told ?? (told === null ? null : nameIn(card));
}
