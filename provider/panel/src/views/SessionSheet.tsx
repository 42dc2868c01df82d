/** The session: what it has, topping it up, closing it, and what came of that. */

import type { Offer, Session } from '../api/types';
import type { Panel } from '../app/panel';
import type { Standing, State } from '../app/state';
import { grouped, TEXTS } from '../texts/en';
import { AmountPicker } from './AmountPicker';
import { explorerUrl, money } from './money';
import { Address, Facts, Title } from './parts';

interface Props {
  readonly state: State;
  readonly session: Session;
  readonly offer: Offer;
  readonly standing: Standing;
  readonly panel: Panel;
}

const WARNINGS: Partial<Record<Standing, string>> = {
  low: TEXTS.lowBalance,
  ending: TEXTS.endsSoon,
  depleted: TEXTS.depleted,
  expired: TEXTS.expiredSession,
};

export function SessionSheet(props: Props) {
  const { state, standing } = props;
  if (standing === 'closed') return <Closed {...props} />;
  if (standing === 'closing') {
    return (
      <>
        <Title>{TEXTS.session}</Title>
        <p class="progress" aria-hidden="true" />
        <p>{TEXTS.closeWait}</p>
      </>
    );
  }
  if (state.sheet === 'topup') return <TopUp {...props} />;
  if (state.sheet === 'close' && state.closing) return <Close {...props} />;
  return <Running {...props} />;
}

function Running({ state, session, offer, standing, panel }: Props) {
  const warning = WARNINGS[standing];
  const share = session.deposit === 0n ? 0 : Number((session.remaining * 1000n) / session.deposit) / 10;
  return (
    <>
      <Title>{TEXTS.session}</Title>
      <p class="price">
        <strong>{money(session.remaining, offer)}</strong>
      </p>
      <meter class="meter" min="0" max="100" low={11} value={share} aria-label={TEXTS.balance} />
      {warning && (
        <p class="warning" role="status">
          {warning}
        </p>
      )}
      <div class="actions">
        {standing !== 'expired' && (
          <button
            type="button"
            class={standing === 'low' || standing === 'depleted' ? 'main' : ''}
            onClick={() => panel.show('topup')}
          >
            {TEXTS.topUp}
          </button>
        )}
        <button
          type="button"
          class={standing === 'expired' ? 'main' : ''}
          aria-disabled={state.busy !== null}
          onClick={() => void panel.previewClose()}
        >
          {TEXTS.close}
        </button>
      </div>
      <Facts
        rows={[
          [TEXTS.paid, money(session.deposit, offer)],
          [TEXTS.used, money(session.spent, offer)],
          [TEXTS.asked, grouped(BigInt(session.requestsMade))],
          [TEXTS.price, `${money(session.price, offer)} ${TEXTS.perAsk}`],
          [TEXTS.account, <Address of={session.sessionId} />],
        ]}
      />
    </>
  );
}

function TopUp({ state, session, offer, panel }: Props) {
  const most = offer.maximumDeposit > session.deposit ? offer.maximumDeposit - session.deposit : 0n;
  const suggested = offer.suggestedDeposit < most ? offer.suggestedDeposit : most;
  return (
    <>
      <Title>{TEXTS.topUp}</Title>
      <AmountPicker
        offer={offer}
        limits={{ least: offer.price > 0n ? offer.price : 1n, most }}
        suggested={suggested}
        action={TEXTS.toTopUp}
        busy={state.busy === 'funding'}
        choose={(amount) => void panel.funding.topUp(amount)}
      />
      <button type="button" class="plain" onClick={() => panel.show('offer')}>
        {TEXTS.back}
      </button>
    </>
  );
}

function Close({ state, offer, panel }: Props) {
  const { closing } = state;
  if (!closing) return null;
  return (
    <>
      <Title>{TEXTS.closing}</Title>
      <Facts
        rows={[
          [TEXTS.toPayer, <strong>{money(closing.toPayer, offer)}</strong>],
          [TEXTS.toProvider, money(closing.toProvider, offer)],
        ]}
      />
      <p class="means">{TEXTS.closeFee}</p>
      <button type="button" class="main" aria-disabled={state.busy !== null} onClick={() => void panel.close()}>
        {state.busy === 'closing' ? TEXTS.closeWait : TEXTS.closeNow}
      </button>
      <button type="button" class="plain" onClick={() => panel.show('offer')}>
        {TEXTS.back}
      </button>
    </>
  );
}

function Closed({ session, offer, panel }: Props) {
  const { settlementSignature: signature, refund, settled } = session;
  const url = signature && explorerUrl(signature, offer.network);
  return (
    <>
      <Title>{TEXTS.closed}</Title>
      {session.state === 'abandoned' ? (
        <p>{TEXTS.abandoned}</p>
      ) : (
        <Facts
          rows={[
            [TEXTS.toPayer, refund === null ? '–' : <strong>{money(refund, offer)}</strong>],
            [TEXTS.toProvider, settled === null ? '–' : money(settled, offer)],
            [
              TEXTS.transaction,
              !signature ? (
                '–'
              ) : url ? (
                <a href={url} target="_blank" rel="noreferrer">
                  <Address of={signature} />
                </a>
              ) : (
                <code class="whole">{signature}</code>
              ),
            ],
          ]}
        />
      )}
      <button type="button" class="main" onClick={() => panel.startOver()}>
        {TEXTS.startOver}
      </button>
    </>
  );
}
