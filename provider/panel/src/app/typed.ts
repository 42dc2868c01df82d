/** Amounts as people type them, and what they come to. Whole base units; nothing is ever rounded up in a promise. */

export type Typed =
  | { readonly ok: true; readonly units: bigint }
  | { readonly ok: false; readonly why: 'empty' | 'not-a-number' | 'too-precise' };

const THOUSANDS = /^[0-9]{1,3}(,[0-9]{3})+$/;
const NUMBER = /^([0-9]{1,20})?(?:\.([0-9]*))?$/;

/** Reads "1", "0.5" or ".5"; a comma is a point, unless it may set thousands apart: that is no number. More digits than the token has are refused, not cut. */
export function parseTyped(text: string, decimals: number): Typed {
  if (THOUSANDS.test(text.trim())) return { ok: false, why: 'not-a-number' };
  const plain = text.trim().replace(',', '.');
  if (plain === '') return { ok: false, why: 'empty' };
  const [matched, whole = '', fraction = ''] = NUMBER.exec(plain) ?? [];
  if (matched === undefined || (whole === '' && fraction === '')) return { ok: false, why: 'not-a-number' };
  const digits = fraction.replace(/0+$/, '');
  if (digits.length > decimals) return { ok: false, why: 'too-precise' };
  return { ok: true, units: BigInt(`${whole}${digits.padEnd(decimals, '0')}` || '0') };
}

export interface Limits {
  readonly least: bigint;
  readonly most: bigint;
}

/** Whether an amount may be paid; a top-up's own limits are for the caller to name. */
export function judge(units: bigint, { least, most }: Limits): 'fits' | 'too-little' | 'too-much' {
  if (units < least) return 'too-little';
  return units > most ? 'too-much' : 'fits';
}

/** How many asks of one unit an amount pays for: rounded down. Null where an ask costs nothing. */
export function asksFor(units: bigint, price: bigint): bigint | null {
  return price === 0n ? null : units / price;
}
