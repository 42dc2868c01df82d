/** What is left, always in sight: state, balance, asks and time. */

import { type Scene, standingOf, type State, wayOf } from '../app/state';
import { clock, grouped, INVOICE_STANDINGS, STANDINGS, TEXTS } from '../texts/en';
import { money } from './money';

export function Hud({ state, scene }: { state: State; scene: Scene }) {
  const { session, now, service } = state;
  const offer = session && service?.offers.find(({ offerId }) => offerId === session.offerId);
  const standing = scene.kind === 'session' ? scene.standing : null;
  const paying = scene.kind === 'paying' && scene.invoice.kind === 'open' ? scene.invoice.state : null;
  const way = wayOf(state);
  const left = session?.expiresAt ? clock(session.expiresAt - now) : TEXTS.noLimit;
  const over = standing === 'closed';
  const cells: readonly (readonly [string, string])[] = [
    [TEXTS.state, hudState(state, scene, way.by === 'free')],
    [TEXTS.balance, session && offer && !over ? money(session.remaining, offer) : TEXTS.none],
    [TEXTS.asksLeft, asksLeft(state, over)],
    [TEXTS.timeLeft, session && !over ? left : '–'],
  ];
  return (
    <dl class="hud" data-standing={standing ?? paying ?? scene.kind} aria-label={TEXTS.session}>
      {cells.map(([name, value], at) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd data-hud={['state', 'balance', 'asks', 'time'][at]}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function hudState({ invoice, outage, session, now }: State, scene: Scene, free: boolean): string {
  if (outage !== null) return 'offline';
  if (scene.kind === 'session') return STANDINGS[scene.standing];
  if (invoice?.kind === 'open') return INVOICE_STANDINGS[invoice.state];
  // A top-up leaves its session as it is.
  if (session) return STANDINGS[standingOf(session, now)];
  return free ? 'free tier' : 'no session';
}

function asksLeft({ session, preview }: State, over: boolean): string {
  if (session && !over) return session.price === 0n ? TEXTS.noLimit : grouped(session.requestsLeft);
  if (preview?.coveredBy === 'free' && preview.freeLeft !== null) return `${preview.freeLeft} ${TEXTS.free}`;
  return '0';
}
