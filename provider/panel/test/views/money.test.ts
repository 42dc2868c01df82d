import { expect, it } from 'vitest';
import { readOffer } from '../../src/api/read';
import { money, sol } from '../../src/views/money';
import { OFFER } from '../made';

const of = (decimals: number) => readOffer({ ...OFFER, token: { ...OFFER.token, decimals } });

it.each([
  [0n, 0, '0.0'],
  [7n, 0, '7.0'],
  [18_446_744_073_709_551_615n, 0, '18 446 744 073 709 551 615.0'],
  [1n, 6, '0.000001'],
  [999_999n, 6, '0.999999'],
  [1_000_000n, 6, '1.0'],
  [1_234_567_654_321n, 6, '1 234 567.654321'],
  [18_446_744_073_709_551_615n, 6, '18 446 744 073 709.551615'],
  [1n, 9, '0.000000001'],
  [18_446_744_073_709_551_615n, 9, '18 446 744 073.709551615'],
  [1n, 18, '0.000000000000000001'],
  [18_446_744_073_709_551_615n, 18, '18.446744073709551615'],
])('%s base units of %s decimals are shown to the last one: %s', (units, decimals, shown) => {
  expect(money(units, of(decimals))).toBe(`${shown.replaceAll(' ', '\u202f')} USDC`);
});

it('shows lamports to the last one', () => {
  expect(sol(6_950_881n)).toBe('0.006950881 SOL');
});
