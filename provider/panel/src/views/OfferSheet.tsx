/** The offer in words, and how much to pay in. */

import type { Offer } from '../api/types';
import type { Panel } from '../app/panel';
import type { State } from '../app/state';
import { slaTexts, termTexts, TEXTS } from '../texts/en';
import { AmountPicker } from './AmountPicker';
import { money } from './money';
import { Address, Facts, List, Title } from './parts';

export function OfferSheet({ state, offer, panel }: { state: State; offer: Offer; panel: Panel }) {
  return (
    <>
      <Title>{TEXTS.offer}</Title>
      {offer.description && <p class="lead">{offer.description}</p>}
      <p class="price">
        <strong>{money(offer.price, offer)}</strong> {TEXTS.perAsk}
      </p>
      <AmountPicker
        offer={offer}
        limits={{ least: offer.minimumDeposit, most: offer.maximumDeposit }}
        suggested={offer.suggestedDeposit}
        action={TEXTS.toFund}
        busy={state.busy === 'funding'}
        choose={(amount) => void panel.funding.open(offer, amount)}
      />
      <List title={TEXTS.promises} items={slaTexts(offer.sla, offer.maxFreeAnswers)} />
      <List title={TEXTS.terms} items={termTexts(offer)} />
      <Facts rows={[[TEXTS.to, <Address of={offer.payee} />]]} />
      <p class="aside">
        {TEXTS.lost}{' '}
        <button type="button" class="link" onClick={() => panel.show('recover')}>
          {TEXTS.recover}
        </button>
      </p>
    </>
  );
}
