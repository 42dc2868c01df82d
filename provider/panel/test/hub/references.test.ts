import { describe, expect, it } from 'vitest';
import examples from '../../../../tests/cards_references.json';
import { pieces, referenceIn, referenceText, withReference } from '../../src/hub/references';

const CARD = 'qs-01ARZ3NDEKTSV4RRFFQ69G5FAV';

describe('references in a text', () => {
  it.each(examples)('$text', ({ text, found }) => {
    let place = 0;
    const here: (number | null)[][] = [];
    for (const { text: piece, refers } of pieces(text)) {
      // The provider counts code points.
      const length = Array.from(piece).length;
      if (refers) here.push([place, place + length, refers.line]);
      place += length;
    }
    expect(here).toEqual(found);
    expect(
      pieces(text)
        .map((piece) => piece.text)
        .join(''),
    ).toBe(text);
  });
});

it('has one spelling of a reference, which is found again', () => {
  for (const line of [null, 1, 999_999_999]) {
    const text = referenceText({ card: CARD, line });
    expect(pieces(text)).toEqual([{ text, refers: { card: CARD, line } }]);
    expect(referenceIn(`#${text}`)).toEqual({ card: CARD, line });
  }
  for (const hash of ['', '#', '#local-wallet=00', `#session:${CARD} and more`, `#${CARD}`])
    expect(referenceIn(hash)).toBeNull();
});

it.each([
  ['', `session:${CARD} `],
  ['What of', `What of session:${CARD} `],
  ['What of   ', `What of session:${CARD} `],
  ['see:', `see: session:${CARD} `],
])('behind “%s” a reference stands for itself, and so does what is typed next', (before, after) => {
  const text = withReference(before, `session:${CARD}`);
  expect(text).toBe(after);
  expect(pieces(`${text}x`).filter(({ refers }) => refers)).toHaveLength(1);
});
