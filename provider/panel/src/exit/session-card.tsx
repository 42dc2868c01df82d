/** One session: what is in it, what can be done now, and how the last step ended. */

import { shortened } from '../chain/amounts';
import type { ChainTime } from '../chain/clock';
import { refundable } from '../chain/session';
import { type Exit, isOver, type Row } from './model';
import { countdown, type Stage, stageOf } from './stage';
import { amountText, endingText, TEXTS } from './texts';

interface CardProps {
  readonly exit: Exit;
  readonly row: Row;
  readonly now: ChainTime;
}

export function SessionCard({ exit, row, now }: CardProps) {
  const { session, step, ending } = row;
  const stage = stageOf(session, now);
  const facts = {
    [TEXTS.labels.left]: amountText(session.status === 'closed' ? 0n : refundable(session), session),
    [TEXTS.labels.deposit]: amountText(session.deposit, session),
    [TEXTS.labels.settled]: amountText(session.settled, session),
    [TEXTS.labels.payee]: <span title={session.payee}>{shortened(session.payee)}</span>,
    [TEXTS.labels.address]: <code>{session.address}</code>,
  };
  return (
    <article
      aria-label={`${TEXTS.labels.address} ${session.address}`}
      data-stage={isOver(ending) ? 'over' : stage.kind}
    >
      {!isOver(ending) && (
        <>
          <dl>
            {Object.entries(facts).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
          <StageText stage={stage} grace={countdown(BigInt(session.gracePeriod))} />
          <Action exit={exit} row={row} stage={stage} />
        </>
      )}
      <p role="status" class={ending && ending.kind !== 'requested' && !isOver(ending) ? 'problem' : ''}>
        {step ? TEXTS[step] : ending && endingText(ending, session)}
      </p>
      {(ending?.kind === 'returned' || ending?.kind === 'requested') && (
        <code class="signature">{ending.signature}</code>
      )}
    </article>
  );
}

function StageText({ stage, grace }: { readonly stage: Stage; readonly grace: string }) {
  switch (stage.kind) {
    case 'open':
      return <p>{TEXTS.open(grace)}</p>;
    case 'waiting':
      return (
        <p>
          {TEXTS.waiting} <strong role="timer">{countdown(stage.seconds)}</strong>
        </p>
      );
    case 'due':
      return <p>{TEXTS.due}</p>;
    case 'settled':
      return (
        <p>
          {TEXTS.settled} {stage.slots > 0n ? TEXTS.settledLater(stage.slots) : TEXTS.settledNow}
        </p>
      );
  }
}

function Action({ exit, row, stage }: Pick<CardProps, 'exit' | 'row'> & { readonly stage: Stage }) {
  const { session, step } = row;
  if (stage.kind === 'waiting' || (stage.kind === 'settled' && stage.slots > 0n)) return null;
  const requests = stage.kind === 'open';
  const act = () => (requests ? exit.requestClose(session) : exit.withdraw(session));
  return (
    <div class="row">
      <button type="button" class="main" disabled={step !== null} onClick={() => void act()}>
        {requests ? TEXTS.requestClose : TEXTS.withdraw}
      </button>
      <small>{requests ? TEXTS.costs : TEXTS.costsWithdraw}</small>
    </div>
  );
}
