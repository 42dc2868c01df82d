import { describe, expect, it } from 'vitest';
import { readInvoice, readService, readSession } from '../../src/api/read';
import { newer, sceneOf, standingOf, START, type State, wayOf } from '../../src/app/state';
import { INVOICE, LIVE, SERVICE } from '../made';

const NOW = 1_800_000_000;
const service = readService(SERVICE);
const session = (change: object = {}) => readSession({ ...LIVE, ...change });
const invoice = (change: object = {}) => readInvoice({ ...INVOICE, ...change });
const state = (change: Partial<State> = {}): State => ({ ...START, service, now: NOW, ...change });

describe('how a session stands', () => {
  it.each([
    [{}, 'active'],
    [{ requestsLeft: '13', remaining: '104000' }, 'active'],
    [{ requestsLeft: '12', remaining: '96000' }, 'low'],
    [{ deposit: '80000', requestsLeft: '5', remaining: '40000' }, 'low'],
    [{ requestsLeft: '0', remaining: '7999' }, 'depleted'],
    [{ state: 'depleted', requestsLeft: '0' }, 'depleted'],
    [{ expiresAt: NOW + 301 }, 'active'],
    [{ expiresAt: NOW + 300 }, 'ending'],
    [{ expiresAt: NOW }, 'expired'],
    [{ state: 'expired' }, 'expired'],
    [{ expiresAt: null }, 'active'],
    [{ state: 'pending' }, 'pending'],
    [{ state: 'closing' }, 'closing'],
    [{ state: 'refunded' }, 'closed'],
    [{ state: 'abandoned' }, 'closed'],
  ])('%o is %s', (change, standing) => {
    expect(standingOf(session(change), NOW)).toBe(standing);
  });

  it('does not warn of few asks where they cost nothing', () => {
    expect(standingOf(session({ pricePerRequest: '0', requestsLeft: '0' }), NOW)).toBe('active');
  });
});

describe('where the input bar leads', () => {
  const free = { coveredBy: 'free', price: 0n, freeLeft: 2, detail: '' } as const;

  it.each<[string, Partial<State>, string]>([
    ['nothing is known of the provider', { service: null }, 'wait'],
    ['nothing pays', {}, 'funding'],
    ['free asks are left', { preview: free }, 'free'],
    ['the path costs nothing', { preview: { ...free, coveredBy: 'nothing' } }, 'nothing'],
    ['a session pays, before free asks', { preview: free, session: session() }, 'session'],
    ['the balance is low', { session: session({ requestsLeft: '1' }) }, 'session'],
    ['the balance is used up', { session: session({ state: 'depleted' }) }, 'topup'],
    [
      'the balance is used up and free asks are left',
      { preview: free, session: session({ state: 'depleted' }) },
      'free',
    ],
    ['an invoice waits', { invoice: invoice() }, 'wait'],
    ['a payment is on its way', { invoice: invoice({ state: 'confirming' }) }, 'wait'],
    [
      'a top-up is on its way',
      { session: session(), invoice: invoice({ kind: 'topup', state: 'confirming' }) },
      'session',
    ],
    ['the session closes', { session: session({ state: 'closing' }) }, 'wait'],
    ['the session’s time is over', { session: session({ state: 'expired' }) }, 'close'],
    ['the session is closed', { session: session({ state: 'refunded' }) }, 'funding'],
  ])('when %s', (_, change, by) => {
    expect(wayOf(state(change)).by).toBe(by);
  });
});

describe('what the panel shows', () => {
  it.each<[string, Partial<State>, string]>([
    ['at first', { service: null }, 'loading'],
    ['without an answer', { service: null, outage: 'refused' }, 'unreachable'],
    ['with nothing to fund', { service: { ...service, offers: [] } }, 'nothing-to-fund'],
    ['for a stranger', {}, 'offer'],
    ['with an invoice', { invoice: invoice(), session: session() }, 'paying'],
    ['with a session', { session: session() }, 'session'],
    ['with a session while the provider is away', { session: session(), outage: 'refused' }, 'session'],
  ])('%s', (_, change, kind) => {
    expect(sceneOf(state(change)).kind).toBe(kind);
  });
});

describe('of two readings', () => {
  const later = session({ requestsMade: 2, spent: '16000', remaining: '984000' });
  const earlier = session({ requestsMade: 1, spent: '8000', remaining: '992000' });

  it('an older one changes nothing', () => expect(newer(later, earlier)).toBe(later));
  it('a newer one counts', () => expect(newer(earlier, later)).toBe(later));
  it('another session counts', () => {
    const other = session({ sessionId: 'other' });
    expect(newer(later, other)).toBe(other);
  });
  it('the end is the end', () => {
    const over = session({ state: 'refunded' });
    expect(newer(over, later)).toBe(over);
  });
  it('closing counts though nothing was asked', () => {
    const closing = session({ requestsMade: 2, state: 'closing' });
    expect(newer(later, closing)).toBe(closing);
  });
});
