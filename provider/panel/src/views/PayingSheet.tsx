/** An invoice until it is paid, in each of its states. */

import type { Invoice, Offer } from '../api/types';
import type { Panel } from '../app/panel';
import type { State } from '../app/state';
import { clock, span, TEXTS } from '../texts/en';
import { money } from './money';
import { Address, Facts, Title } from './parts';
import { Qr } from './Qr';
import { Wallets } from './Wallets';

interface Props {
  readonly state: State;
  readonly invoice: Invoice;
  readonly offer: Offer;
  readonly panel: Panel;
}

export function PayingSheet(props: Props) {
  const { invoice, offer, panel } = props;
  const anew = (label: string) => (
    <button type="button" class="plain" onClick={() => panel.funding.abandon()}>
      {label}
    </button>
  );
  switch (invoice.state) {
    case 'waiting':
    case 'active':
      return <Waiting {...props} />;
    case 'confirming':
      return (
        <>
          <Title>{TEXTS.confirming}</Title>
          <p class="progress" aria-hidden="true" />
          <p>{TEXTS.confirmingHint}</p>
          <Facts rows={[[TEXTS.amount, money(invoice.amount, offer)]]} />
        </>
      );
    case 'expired':
      return (
        <>
          <Title>{TEXTS.expired}</Title>
          <p>{TEXTS.expiredHint}</p>
          {anew(TEXTS.anew)}
        </>
      );
    case 'underpaid':
      return (
        <>
          <Title>{TEXTS.underpaid}</Title>
          <p>
            {TEXTS.underpaidHint(
              money(invoice.received ?? 0n, offer),
              money(invoice.amount, offer),
              span(offer.gracePeriodSeconds),
            )}
          </p>
          <TakeBack />
          {anew(TEXTS.anew)}
        </>
      );
    case 'rejected':
      return (
        <>
          <Title>{TEXTS.rejected}</Title>
          <p>{invoice.detail}</p>
          {invoice.kind === 'open' && (
            <>
              <p>{TEXTS.rejectedHint(span(offer.gracePeriodSeconds))}</p>
              <TakeBack />
            </>
          )}
          {anew(TEXTS.anew)}
        </>
      );
  }
}

function TakeBack() {
  return (
    <a class="main" href="./exit.html">
      {TEXTS.takeBack}
    </a>
  );
}

function Waiting({ state, invoice, offer, panel }: Props) {
  const busy = state.busy !== null;
  return (
    <>
      <Title>{invoice.kind === 'open' ? TEXTS.pay : TEXTS.payTopUp}</Title>
      <p class="price">
        <strong>{money(invoice.amount, offer)}</strong>
      </p>
      <Facts
        rows={[
          [TEXTS.to, <Address of={offer.payee} />],
          [TEXTS.runsFor, offer.durationSeconds === null ? TEXTS.noLimit : span(offer.durationSeconds)],
          [TEXTS.grace, span(offer.gracePeriodSeconds)],
          [TEXTS.payBefore, clock(invoice.expiresAt - state.now)],
        ]}
      />
      <section>
        <h3>{TEXTS.chooseWallet}</h3>
        <Wallets
          wallets={state.wallets}
          busy={busy}
          action={TEXTS.withWallet}
          choose={(wallet) => void panel.funding.pay(wallet)}
        />
        <p class="means" aria-live="polite">
          {state.busy === 'wallet' ? TEXTS.walletAsked : offer.sponsored ? TEXTS.sponsored : TEXTS.notSponsored}
        </p>
      </section>
      <section>
        <h3>{TEXTS.byPhone}</h3>
        {invoice.solanaPayUrl ? (
          <>
            <button type="button" aria-expanded={state.showQr} onClick={() => panel.toggleQr()}>
              {state.showQr ? TEXTS.hideQr : TEXTS.showQr}
            </button>
            {state.showQr && (
              <figure>
                <Qr text={invoice.solanaPayUrl} label={TEXTS.qrLabel} />
                <figcaption class="means">{TEXTS.qrHint}</figcaption>
              </figure>
            )}
          </>
        ) : (
          <p class="means">{invoice.solanaPayReason ?? state.service?.solanaPayReason ?? TEXTS.noPhone}</p>
        )}
      </section>
      <button type="button" class="plain" onClick={() => panel.funding.abandon()}>
        {TEXTS.cancel}
      </button>
    </>
  );
}
