/**
 * References to cards in any text: `session:<id>`, and `session:<id>:L<line>` to one line. Pure.
 *
 * The rule is the provider's (cards/references.py), and both are held against tests/cards_references.json: what runs on
 * before or behind makes it part of something else; scripts that are written without blanks may touch it.
 */

export interface Reference {
  readonly card: string;
  readonly line: number | null;
}

/** A piece of a text: plain, or a reference as it was written. */
export type Piece = { readonly text: string; readonly refers: Reference | null };

const ID = 'qs-[0-7][0-9A-HJKMNP-TV-Z]{25}';
const BLANKLESS = ['Han', 'Hiragana', 'Katakana', 'Hangul', 'Bopomofo', 'Thai', 'Lao', 'Khmer', 'Myanmar']
  .map((script) => `\\p{Script_Extensions=${script}}`)
  .join('');
const WORD = `(?![${BLANKLESS}])[\\p{L}\\p{N}\\p{M}_\\u200c\\u200d\\u2060]`;
const REFERENCE = new RegExp(
  `(?<!${WORD}|[\\-.:/\\\\@#=&%+~?])session:(?<card>${ID})(?::L(?<line>[0-9]{1,9}))?` +
    `(?!${WORD}|[\\-/\\\\@=&%+~#]|[.:?]${WORD}|\\p{M})`,
  'gu',
);

/** The text in pieces, which together are the text. There is no line 0. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(REFERENCE)) {
    const { card = '', line } = match.groups ?? {};
    if (line !== undefined && Number(line) === 0) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index), refers: null });
    found.push({ text: match[0], refers: { card, line: line === undefined ? null : Number(line) } });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end), refers: null });
  return found;
}

/** The one spelling that is written, such as `session:qs-…:L000001`. */
export function referenceText({ card, line }: Reference): string {
  return line === null ? `session:${card}` : `session:${card}:L${String(line).padStart(6, '0')}`;
}

/** What an address's `#session:…` refers to, if that is all that it says. */
export function referenceIn(hash: string): Reference | null {
  const [piece, ...more] = pieces(hash.slice(1));
  return piece && more.length === 0 ? piece.refers : null;
}

/** The text with a reference at its end, apart from what stands before it and what is typed behind it. */
export function withReference(text: string, reference: string): string {
  const before = text.trimEnd();
  return `${before}${before ? ' ' : ''}${reference} `;
}
