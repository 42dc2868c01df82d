/** Every sentence of the panel, in one place. Problems say what to do. */

import type { ApiError } from '../api/client';
import type { InvoiceState, Sla } from '../api/types';
import type { Standing, Way } from '../app/state';
import type { Refusal } from '../chain/check';
import type { Outcome } from '../wallet/outcomes';

// The names of SLA terms, as receipts have them.
const BROKEN: Readonly<Record<string, string>> = {
  max_latency_ms: 'it came later than promised',
  accepted_statuses: 'it did not work as promised',
  min_body_bytes: 'it was shorter than promised',
  response_schema: 'it had not the promised form',
};

export const TEXTS = {
  title: 'Fund once, ask many',
  skip: 'Skip to the question',
  loading: 'Asking the provider what it offers…',
  unreachable: 'The provider does not answer',
  unreachableHint: 'This page tries again every few seconds. Your deposit is safe on chain.',
  outage: 'The provider does not answer. Trying again every few seconds; what you paid is safe on chain.',
  garbage: 'The provider’s answer could not be read. Reload this page.',
  exit: 'If it stays away, take your money back without it',
  backAgain: 'The provider answers again.',
  nothingToFund: 'This provider sells nothing that can be paid on this page.',
  testNetwork: (network: string) => `${network}: test money, worth nothing`,
  network: 'Network',

  conversation: 'Questions and answers',
  empty: 'Ask something',
  emptyHint: 'Pay once, then ask as often as your balance allows, without another payment prompt.',
  question: 'Your question',
  ask: 'Ask',
  running: 'Waiting for the answer…',
  emptyAnswer: 'The answer is empty, or it was charged before and is no longer kept.',
  brokeOff: 'The connection broke here. What came is charged, and nothing else; ask again for all of it.',
  binary: (kind: string) => `The answer is no text (${kind}).`,
  binaryName: 'answer',
  save: 'Save it',
  unknown: 'The connection broke. Ask again: it is charged once at most.',
  again: 'Ask again',
  free: 'free',
  freeBroke: (term: string) => `not charged: ${BROKEN[term] ?? `it broke the promise “${term}”`}`,

  session: 'Session',
  state: 'State',
  balance: 'Balance',
  asksLeft: 'Requests left',
  timeLeft: 'Time left',
  noLimit: 'no limit',
  none: 'none',

  offer: 'Fund a session',
  price: 'Price',
  perAsk: 'per request',
  promises: 'What the provider promises',
  terms: 'Terms',
  amount: 'Amount',
  presets: 'Suggested amounts',
  otherAmount: 'Another amount',
  aboutAsks: (asks: bigint) => (asks === 1n ? 'about 1 request' : `about ${grouped(asks)} requests`),
  anyAsks: 'any number of requests',
  worst: (amount: string) =>
    `At worst you lose all of it, ${amount}: the provider says what each request costs, up to the agreed price. Receipts prove it.`,
  toFund: (amount: string) => `Fund with ${amount}`,
  funding: 'Preparing…',
  lost: 'Funded before in another browser?',
  recover: 'Find my session',

  pay: 'Pay',
  payTopUp: 'Pay the top-up',
  to: 'To',
  payBefore: 'Pay within',
  runsFor: 'Session runs for',
  grace: 'Grace period',
  withWallet: (name: string) => `Pay with ${name}`,
  chooseWallet: 'With a wallet in this browser',
  noWallets:
    'No Solana wallet was found in this browser. Install Phantom, Solflare or Backpack, or open this page in your wallet’s own browser.',
  byPhone: 'With a phone',
  showQr: 'Show the QR code',
  hideQr: 'Hide the QR code',
  qrLabel: 'QR code for Solana Pay',
  qrHint: 'Scan it with a wallet that knows Solana Pay.',
  noPhone: 'Paying by phone is not possible here.',
  sponsored: 'The provider pays the network fee: your wallet needs no SOL.',
  notSponsored: 'Your wallet needs about 0.01 SOL for the network fee and the rent, which comes back at the end.',
  sentAfterCancel:
    'Your wallet has sent the payment that you cancelled here. Nothing is lost: find the session with your wallet.',
  walletAsked: 'Look at your wallet: it asks you to sign.',
  poorTokens: (held: string, needed: string) =>
    `Your wallet has ${held}, and this takes ${needed}. Send it more and pay again, or cancel and choose a smaller amount.`,
  poorSol: (held: string, needed: string) =>
    `Your wallet has ${held}, and the network takes ${needed} for its fee and rent, which mostly comes back. Send it some SOL and pay again.`,
  nothingPaid: 'Nothing was paid.',
  otherWallet: 'This invoice is for another wallet. Pay with that one, or cancel and begin anew.',
  cancel: 'Cancel',
  anew: 'Begin anew',
  back: 'Back',
  confirming: 'Payment seen',
  confirmingHint: 'Waiting until the network has confirmed it. You can close this tab: it is found again.',
  expired: 'This invoice is over',
  expiredHint: 'Nothing arrived in time. If you did pay, keep this page open: it is still found.',
  underpaid: 'Too little arrived',
  underpaidHint: (received: string, amount: string, grace: string) =>
    `${received} of ${amount} arrived, and that opens no session. Nobody but you can take it back: request the close with the wallet that paid, and withdraw ${grace} later.`,
  rejected: 'The payment was not accepted',
  rejectedHint: (grace: string) =>
    `What arrived is not what this invoice asked for. Nobody but you can take it back: request the close with the wallet that paid, and withdraw ${grace} later.`,
  takeBack: 'Take it back',
  opened: 'Your session is open. Ask away.',
  toppedUp: 'Your top-up has arrived.',
  moreState: 'What happens now',

  paid: 'Paid in',
  used: 'Used',
  asked: 'Requests made',
  account: 'Account',
  topUp: 'Top up',
  toTopUp: (amount: string) => `Top up with ${amount}`,
  close: 'Close and get the rest back',
  closing: 'Close the session?',
  toProvider: 'To the provider',
  toPayer: 'Back to your wallet',
  closeFee: 'One transaction does both. The provider pays the network fee.',
  closeShort: 'Close it',
  closeNow: 'Close it now',
  closeWait: 'Closing: the provider settles on chain…',
  closed: 'Session closed',
  abandoned: 'This session was never opened.',
  transaction: 'Transaction',
  startOver: 'Fund a new session',
  lowBalance: 'Your balance runs low. Top up to go on without a break.',
  endsSoon: 'Your session ends soon. Close it to get the rest back at once.',
  depleted: 'Your balance does not cover another request. Top up, or close to get the rest back.',
  expiredSession: 'The session’s time is over. Close it to get the rest back; otherwise the provider does it soon.',

  stale:
    'The session kept in this browser is not valid any more; it was cleared. If it is yours, find it with your wallet.',
  recoverHint: 'Choose the wallet that paid. It signs two short messages, no payment.',
  askWallet: (name: string) => `Sign with ${name}`,
  recoverNone: 'This wallet has no open session here.',
  recovered: 'Your session is back.',
  dismiss: 'Dismiss',
} as const;

/** What the state of a session is called. */
export const STANDINGS: Readonly<Record<Standing, string>> = {
  pending: 'opening',
  active: 'active',
  low: 'low balance',
  ending: 'ends soon',
  depleted: 'used up',
  expired: 'expired',
  closing: 'closing',
  closed: 'closed',
};

/** What an invoice is called that opens a session. */
export const INVOICE_STANDINGS: Readonly<Record<InvoiceState, string>> = {
  waiting: 'not paid yet',
  confirming: 'opening',
  active: 'opening',
  expired: 'not paid',
  underpaid: 'underpaid',
  rejected: 'not accepted',
};

/** What would pay for the next question, above the input bar. */
export function wayText(way: Way, price: string, running: boolean): string {
  if (running) return 'Your last question is being answered; send the next one after it.';
  switch (way.by) {
    case 'session':
      return `Paid by your session: ${price}`;
    case 'free':
      return way.left === null ? 'This one is free' : `Free: ${way.left} left today`;
    case 'nothing':
      return 'Free for everyone';
    case 'topup':
      return 'Top up to go on';
    case 'close':
      return 'Close this session first';
    case 'funding':
      return 'Fund a session first';
    case 'wait':
      return {
        service: 'Waiting for the provider',
        payment: 'Waiting for your payment',
        opening: 'Your session is being opened',
        closing: 'Your session is being closed',
      }[way.for];
  }
}

/** The promises of an offer, each a sentence. */
export function slaTexts(sla: Sla | null, maxFree: number): string[] {
  if (!sla) return ['No promises: every answer is charged.'];
  const promises = [];
  if (sla.maxLatencyMs !== null) promises.push(`An answer within ${seconds(sla.maxLatencyMs)}.`);
  if (sla.acceptedStatuses.length > 0)
    promises.push(`An answer that worked (HTTP status ${sla.acceptedStatuses.join(', ')}).`);
  if (sla.minBodyBytes !== null && sla.minBodyBytes > 0)
    promises.push(
      sla.minBodyBytes === 1 ? 'An answer that is not empty.' : `At least ${sla.minBodyBytes} bytes of answer.`,
    );
  const free = maxFree > 0 ? ` (up to ${maxFree} of them in a session)` : '';
  return [...promises, `An answer that breaks a promise costs nothing${free}.`];
}

/** How long a session runs and what happens when the provider is gone. */
export function termTexts(offer: {
  durationSeconds: number | null;
  idleTimeoutSeconds: number | null;
  gracePeriodSeconds: number;
}): string[] {
  const terms = ['What you do not use comes back to your wallet when the session closes.'];
  if (offer.durationSeconds !== null) terms.push(`The session ends after ${span(offer.durationSeconds)}.`);
  if (offer.idleTimeoutSeconds !== null && offer.idleTimeoutSeconds > 0)
    terms.push(`It is closed for you after ${span(offer.idleTimeoutSeconds)} without a request.`);
  terms.push(`If the provider is gone, you can take the rest back yourself after ${span(offer.gracePeriodSeconds)}.`);
  return terms;
}

/** Why an amount cannot be paid. */
export function amountProblem(
  why: 'empty' | 'not-a-number' | 'too-precise' | 'too-little' | 'too-much',
  { least, most, decimals }: { least: string; most: string; decimals: number },
): string {
  switch (why) {
    case 'empty':
      return 'Type an amount.';
    case 'not-a-number':
      return 'Type an amount such as 2.5.';
    case 'too-precise':
      return `This token has ${decimals} decimals at most.`;
    case 'too-little':
      return `At least ${least}.`;
    case 'too-much':
      return `At most ${most}.`;
  }
}

/** Why the wallet did not sign. */
export function walletText(outcome: Exclude<Outcome<never>, { kind: 'done' }>, network: string): string {
  switch (outcome.kind) {
    case 'refused':
      return 'You said no in your wallet. Nothing was paid.';
    case 'locked':
      return 'Your wallet is locked. Unlock it and try again.';
    case 'wrong-network':
      return `Your wallet’s account is not on this service’s network, ${network}. Switch to it in your wallet and try again.`;
    case 'unsupported':
      return `This wallet cannot do that (${outcome.feature}). Use another one.`;
    case 'failed':
      return `Your wallet says: ${outcome.reason}`;
  }
}

/** What a wallet lacks: how much it has of the token and of SOL and how much it takes, null where it has enough. */
export function poorText(tokens: readonly [string, string] | null, sol: readonly [string, string] | null): string {
  const lacks = [tokens && TEXTS.poorTokens(...tokens), sol && TEXTS.poorSol(...sol)];
  return [...lacks.filter((text) => text !== null), TEXTS.nothingPaid].join(' ');
}

/** Why a transaction never reached the wallet. */
export function refusalText(refusal: Refusal): string {
  const what: Record<Refusal, string> = {
    malformed: 'it cannot be read',
    'other-signers': 'it wants other signatures',
    'other-instructions': 'it does more than that',
    'other-program': 'it is for another program',
    'other-accounts': 'it names other accounts',
    'other-amount': 'it moves another amount',
    'other-terms': 'it has other terms',
    'fee-too-high': 'its network fee is too high',
  };
  return `The provider’s transaction is not what this page shows: ${what[refusal]}. It was not signed; pay nothing here.`;
}

const PROBLEMS: Readonly<Record<string, string>> = {
  'invoice-over': 'This invoice is over. Begin anew.',
  'invoice-unknown': 'The provider does not know this invoice any more. Begin anew.',
  'token-invalid': 'This browser’s key to the session is not valid any more. Find the session with your wallet.',
  'free-quota-exhausted': 'Today’s free requests are used up. Fund a session to go on.',
  'session-depleted': 'Your balance does not cover this request. Top up, or close to get the rest back.',
  'session-expired': 'The session’s time is over. Close it to get the rest back.',
  'session-closing': 'The session is being closed.',
  'session-closed': 'The session is closed.',
  'too-many-requests': 'Too many requests at once. Wait a moment and try again.',
  'chain-unavailable': 'The provider cannot reach the network at the moment. Try again in a minute.',
};

/** What an answer of the API that refused means for whoever asked. */
export function problemText(error: ApiError): string {
  if (error.kind === 'unreachable') return TEXTS.outage;
  if (error.kind === 'garbage') return TEXTS.garbage;
  return PROBLEMS[error.problem] ?? error.message;
}

/** A whole number with its thousands apart. */
export function grouped(number: bigint): string {
  return number.toString().replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

function seconds(milliseconds: number): string {
  return milliseconds % 1000 === 0 ? plural(milliseconds / 1000, 'second') : `${milliseconds} ms`;
}

/** A length of time in its largest whole unit: "15 minutes", "1 day", "90 minutes". */
export function span(total: number): string {
  for (const [length, name] of [
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const) {
    if (total >= length && total % length === 0) return plural(total / length, name);
  }
  return plural(total, 'second');
}

/** Time left as a clock shows it, never more than there is: "23 h 59 min", "4:05", "0:00". */
export function clock(total: number): string {
  const left = Math.max(0, Math.floor(total));
  if (left >= 172_800) return plural(Math.floor(left / 86_400), 'day');
  if (left >= 3600) return `${Math.floor(left / 3600)} h ${Math.floor((left % 3600) / 60)} min`;
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`;
}

function plural(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
