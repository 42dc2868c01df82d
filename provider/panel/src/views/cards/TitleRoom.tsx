/** What a title that is being typed has room for, or why it cannot be sent; silent while there is plenty. */

import type { Judged } from '../../hub/titles';
import { CARDS } from '../../texts/cards';

const NEAR = 10;

export function TitleRoom({ id, judged }: { id: string; judged: Judged }) {
  const wrong = judged.is === 'long' || judged.is === 'unseen';
  return (
    <p id={id} class={wrong ? 'wrong' : 'means'} role="status">
      {said(judged)}
    </p>
  );
}

function said(judged: Judged): string {
  if (judged.is === 'long') return CARDS.titleLong(judged.by);
  if (judged.is === 'unseen') return CARDS.titleUnseen;
  return judged.is === 'fitting' && judged.left <= NEAR ? CARDS.titleLeft(judged.left) : '';
}
