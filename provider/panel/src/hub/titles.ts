/**
 * Titles as the provider counts them (docs/cards.md): one line of at most 80 graphemes, which are what people take for
 * characters. Pure. The provider has the last word; this says so before anything is sent.
 */

export const MOST_GRAPHEMES = 80;
const MOST_BYTES = 4096;

// What Python takes for blank, which differs from `\s` in a few characters.
const BLANKS = /[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;
// Controls, halves of surrogate pairs, and what turns the direction of the text that follows a title.
const UNFIT = /(?![\t-\r\x85])[\p{Cc}\p{Cs}]|[\u202a-\u202e\u2066-\u2069]/gu;
const SEEN = /[^\p{C}\p{Z}]/u;

const characters = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

export type Judged =
  | { readonly is: 'none' }
  /** Something was typed, but nothing of it can be seen. */
  | { readonly is: 'unseen' }
  | { readonly is: 'fitting'; readonly left: number }
  /** By how many characters; null where there are few, but endlessly built ones. */
  | { readonly is: 'long'; readonly by: number | null };

/** The text as it becomes a title; empty where nothing is left to see. */
export function oneLine(text: string): string {
  const line = text.normalize('NFC').replace(UNFIT, '').replace(BLANKS, ' ').replace(/^ | $/g, '');
  return SEEN.test(line) ? line : '';
}

/** What people take for characters, in number. */
export function count(line: string): number {
  return [...characters.segment(line)].length;
}

/** Whether what was typed can be a title. */
export function judgeTitle(typed: string): Judged {
  if (typed.trim() === '') return { is: 'none' };
  const line = oneLine(typed);
  if (line === '') return { is: 'unseen' };
  const left = MOST_GRAPHEMES - count(line);
  if (left < 0) return { is: 'long', by: -left };
  return new TextEncoder().encode(line).length > MOST_BYTES ? { is: 'long', by: null } : { is: 'fitting', left };
}

/** Whether it may be sent: a new card needs no title. */
export function isSendable(judged: Judged): boolean {
  return judged.is === 'none' || judged.is === 'fitting';
}
