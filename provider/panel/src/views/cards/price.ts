/** What turns cost, in words. */

import type { Offer } from '../../api/types';
import type { Responder } from '../../hub/types';
import { CARDS } from '../../texts/cards';
import { money } from '../money';

export function priceOf({ price, byUse }: Responder, offer: Offer, turns = 1n): string {
  const amount = money(price * turns, offer);
  return byUse ? CARDS.upTo(amount) : amount;
}
