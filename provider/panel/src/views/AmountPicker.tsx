/** Choosing an amount: suggestions, or a free one, with what it buys and what can be lost at most. */

import { useState } from 'preact/hooks';
import type { Offer } from '../api/types';
import { asksFor, judge, type Limits, parseTyped } from '../app/typed';
import { formatAmount } from '../chain/amounts';
import { amountProblem, TEXTS } from '../texts/en';
import { money, unitName } from './money';

interface Props {
  readonly offer: Offer;
  readonly limits: Limits;
  readonly suggested: bigint;
  readonly action: (amount: string) => string;
  readonly busy: boolean;
  readonly choose: (amount: bigint) => void;
}

export function AmountPicker({ offer, limits, suggested, action, busy, choose }: Props) {
  const { decimals } = offer.token;
  const [text, setText] = useState(formatAmount(suggested, decimals));
  const [tried, setTried] = useState(false);
  const typed = parseTyped(text, decimals);
  const verdict = typed.ok ? judge(typed.units, limits) : typed.why;
  const asks = typed.ok ? asksFor(typed.units, offer.price) : 0n;
  const shown = { least: money(limits.least, offer), most: money(limits.most, offer), decimals };
  const wrong = verdict !== 'fits' && (tried || verdict !== 'empty') ? amountProblem(verdict, shown) : null;

  const submit = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (typed.ok && verdict === 'fits' && !busy) choose(typed.units);
  };

  return (
    <form onSubmit={submit} noValidate>
      <fieldset class="presets">
        <legend>{TEXTS.presets}</legend>
        {offer.presets.map((units) => (
          <button
            key={String(units)}
            type="button"
            aria-pressed={typed.ok && typed.units === units}
            onClick={() => setText(formatAmount(units, decimals))}
          >
            <strong>{money(units, offer)}</strong>
            <span>{asksText(asksFor(units, offer.price))}</span>
          </button>
        ))}
      </fieldset>
      <label for="amount">{TEXTS.otherAmount}</label>
      <div class="amount">
        <input
          id="amount"
          inputMode="decimal"
          autocomplete="off"
          value={text}
          maxLength={30}
          aria-invalid={wrong !== null}
          aria-describedby="amount-means"
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <span aria-hidden="true">{unitName(offer)}</span>
      </div>
      <p id="amount-means" class={wrong ? 'wrong' : 'means'} aria-live="polite">
        {wrong ?? (typed.ok && `${capital(asksText(asks))}. ${TEXTS.worst(money(typed.units, offer))}`)}
      </p>
      <button class="main" type="submit" aria-disabled={busy || verdict !== 'fits'}>
        {busy ? TEXTS.funding : action(typed.ok ? money(typed.units, offer) : '…')}
      </button>
    </form>
  );
}

function asksText(asks: bigint | null): string {
  return asks === null ? TEXTS.anyAsks : TEXTS.aboutAsks(asks);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
