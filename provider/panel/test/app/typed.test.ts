import { describe, expect, it } from 'vitest';
import { asksFor, judge, parseTyped } from '../../src/app/typed';

describe('an amount that is typed', () => {
  it.each([
    ['1', 1_000_000n],
    ['0.5', 500_000n],
    ['.5', 500_000n],
    ['5.', 5_000_000n],
    ['1,25', 1_250_000n],
    [' 2 ', 2_000_000n],
    ['0.000001', 1n],
    ['1.0000000', 1_000_000n],
    ['0', 0n],
    ['123456789012345.654321', 123_456_789_012_345_654_321n],
  ])('%s is %s base units', (text, units) => {
    expect(parseTyped(text, 6)).toEqual({ ok: true, units });
  });

  it.each([
    ['', 'empty'],
    ['.', 'not-a-number'],
    ['-1', 'not-a-number'],
    ['1e6', 'not-a-number'],
    ['1.2.3', 'not-a-number'],
    ['１', 'not-a-number'],
    ['0x10', 'not-a-number'],
    ['Infinity', 'not-a-number'],
    ['123456789012345678901', 'not-a-number'],
    ['1,000', 'not-a-number'],
    ['1,000,000', 'not-a-number'],
    ['0.0000001', 'too-precise'],
  ])('%s is refused: %s', (text, why) => {
    expect(parseTyped(text, 6)).toEqual({ ok: false, why });
  });

  it('has no decimals where the token has none', () => {
    expect(parseTyped('3', 0)).toEqual({ ok: true, units: 3n });
    expect(parseTyped('3.5', 0)).toEqual({ ok: false, why: 'too-precise' });
  });

  it('fits within the limits, which are included', () => {
    const limits = { least: 80n, most: 100n };
    expect([79n, 80n, 100n, 101n].map((units) => judge(units, limits))).toEqual([
      'too-little',
      'fits',
      'fits',
      'too-much',
    ]);
  });
});

it('never promises an ask that is not wholly paid', () => {
  expect(asksFor(1_000_000n, 8_000n)).toBe(125n);
  expect(asksFor(999_999n, 8_000n)).toBe(124n);
  expect(asksFor(7_999n, 8_000n)).toBe(0n);
  expect(asksFor(1n, 0n)).toBeNull();
});
