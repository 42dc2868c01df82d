import { describe, expect, it } from 'vitest';
import { count, isSendable, judgeTitle, MOST_GRAPHEMES, oneLine } from '../../src/hub/titles';
import { CARDS } from '../../src/texts/cards';
import vectors from './titles.json';

describe('a title', () => {
  // tests/unit/provider/test_card_titles.py has the provider count the same.
  it.each(vectors)('is counted as the provider does: $of', ({ text, line, graphemes }) => {
    expect(oneLine(text)).toBe(line);
    expect(count(line)).toBe(graphemes);
  });

  it.each(['a', '👩‍👩‍👧‍👦', 'e\u0301', '\u1112\u1161\u11ab', '한', '🇩🇪', 'नि'])('holds 80 of %s, and no more', (one) => {
    expect(judgeTitle(one.repeat(MOST_GRAPHEMES - 2))).toEqual({ is: 'fitting', left: 2 });
    expect(judgeTitle(one.repeat(MOST_GRAPHEMES))).toEqual({ is: 'fitting', left: 0 });
    expect(judgeTitle(one.repeat(MOST_GRAPHEMES + 3))).toEqual({ is: 'long', by: 3 });
  });

  it('counts no blanks at its ends, and one for many', () => {
    expect(judgeTitle(`  ${'a'.repeat(40)}   ${'b'.repeat(39)}  `)).toEqual({ is: 'fitting', left: 0 });
  });

  it('of a few characters without end is too long as well', () => {
    expect(judgeTitle(`z${'\u0353'.repeat(3000)}`)).toEqual({ is: 'long', by: null });
  });

  it('may be missing, but not invisible', () => {
    expect(judgeTitle(' \n')).toEqual({ is: 'none' });
    expect(judgeTitle('\u200b')).toEqual({ is: 'unseen' });
    expect([judgeTitle(''), judgeTitle('\u200b')].map(isSendable)).toEqual([true, false]);
  });

  it('is told how much to leave out', () => {
    expect(CARDS.titleLong(1)).toMatch(/^1 character too many: .* at most 80/);
    expect(CARDS.titleLong(3)).toMatch(/^3 characters too many/);
  });
});
