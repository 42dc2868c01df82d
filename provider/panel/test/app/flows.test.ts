import { SolanaSignTransaction } from '@solana/wallet-standard-features';
import type { Wallet } from '@wallet-standard/base';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Keeping } from '../../src/app/keeping';
import { TEXTS } from '../../src/texts/en';
import { type LocalWallet, localWallet, type Request } from '../../src/wallet/local';
import { storage } from '../storage';
import { AMOUNT, NOW, Provider, SESSION } from './provider';
import { Tab } from './tab';

let provider: Provider;
let kept: Storage;
let tab: Tab;
const wallet = (approve?: (request: Request) => boolean): Promise<LocalWallet> =>
  localWallet(new Uint8Array(32).fill(1), approve);

beforeEach(() => {
  // A browser without locks runs what it is given.
  vi.stubGlobal('navigator', {});
  provider = new Provider();
  kept = storage();
  tab = new Tab(provider, kept);
});

describe('funding', () => {
  it('opens a session by one signature', async () => {
    await tab.ordered();
    await tab.panel.funding.pay(await wallet());
    expect(tab.state).toMatchObject({ invoice: null, session: { sessionId: SESSION, state: 'active' } });
    expect(new Keeping(kept).read()).toEqual({ sessionId: SESSION, token: 'token-1', invoice: null });
  });

  it.each<Request>(['connect', 'transaction'])('goes on after the wallet said no to %s', async (refused) => {
    await tab.ordered();
    await tab.panel.funding.pay(await wallet((request) => request !== refused));
    expect(tab.state.notice?.text).toMatch(/You said no/);
    expect(provider.count('POST /invoices/invoice-1/transaction')).toBe(0);
    await tab.panel.funding.pay(await wallet());
    expect(tab.state.session?.state).toBe('active');
  });

  it('leaves alone what was begun since, when it is told of a payment once more', async () => {
    await tab.ordered();
    const invoice = tab.state.invoice;
    if (!invoice) throw new Error('nothing was ordered');
    await tab.panel.funding.pay(await wallet());
    tab.panel.show('topup');
    await tab.panel.follow.tookInvoice({ ...invoice, state: 'active', sessionId: SESSION });
    expect(tab.state).toMatchObject({ sheet: 'topup', session: { state: 'active' } });
  });

  it.each(['late', 'lost'])('lets go on with the next once it is seen as paid, its answer %s', async (answer) => {
    await tab.ordered();
    let release = () => {};
    provider.slow = new Promise((come, go) => {
      release = () => (answer === 'late' ? come() : go(new TypeError('connection reset')));
    });
    const paying = tab.panel.funding.pay(await wallet());
    await vi.waitFor(() => expect(tab.state.invoice?.state).toBe('confirming'));
    await vi.waitFor(() => expect(provider.count('POST /invoices/invoice-1/transaction')).toBe(1));
    await tab.panel.follow.restore();
    expect(tab.state).toMatchObject({ invoice: null, busy: null, session: { state: 'active' } });
    await tab.panel.previewClose();
    release();
    await paying;
    expect(tab.state).toMatchObject({
      sheet: 'close',
      closing: { toProvider: 0n },
      invoice: null,
      busy: null,
      notice: null,
    });
  });

  it('asks for the right network', async () => {
    await tab.ordered();
    const honest = await wallet();
    const { accounts } = await honest.features['standard:connect'].connect();
    const elsewhere: Wallet = {
      ...honest,
      accounts,
      features: {
        ...honest.features,
        'standard:connect': {
          version: '1.0.0',
          connect: async () => ({
            accounts: accounts.map((one) => ({
              ...one,
              address: one.address,
              publicKey: one.publicKey,
              features: one.features,
              chains: ['solana:mainnet'],
            })),
          }),
        },
      },
    };
    await tab.panel.funding.pay(elsewhere);
    expect(tab.state.notice?.text).toMatch(/not on this service’s network, localnet/);
    expect(provider.count('POST /invoices/invoice-1/transaction')).toBe(0);
  });

  it('lets no wallet sign another amount than the page shows', async () => {
    await tab.ordered();
    const signed = vi.fn();
    const honest = await wallet();
    const watched = {
      ...honest,
      features: { ...honest.features, [SolanaSignTransaction]: { signTransaction: signed } },
    };
    Object.assign(provider.invoice ?? {}, { amount: '1' });
    await tab.panel.funding.pay(watched as unknown as Wallet);
    expect(signed).not.toHaveBeenCalled();
    expect(tab.state.notice?.text).toMatch(/not what this page shows/);
  });

  it('makes one invoice of a double click, and one of two tabs', async () => {
    const other = new Tab(provider, kept);
    await Promise.all([tab.opened(), other.opened()]);
    const offer = tab.state.service?.offers[0];
    if (!offer) throw new Error('no offer');
    await Promise.all([tab.panel.funding.open(offer, AMOUNT), tab.panel.funding.open(offer, AMOUNT)]);
    await other.panel.funding.open(offer, AMOUNT);
    expect(provider.count('POST /sessions')).toBe(1);
    expect(other.state.invoice?.invoiceId).toBe('invoice-1');
  });
});

describe('what is found again', () => {
  it('the deposit of a tab that closed between signing and confirmation', async () => {
    await tab.ordered();
    Object.assign(provider.invoice ?? {}, { sessionId: SESSION });
    provider.land();
    const later = await new Tab(provider, kept).opened();
    expect(later.state.session).toMatchObject({ sessionId: SESSION, deposit: AMOUNT });
  });

  it('nothing of a session that is not valid any more, which is said', async () => {
    new Keeping(kept).write({ sessionId: 'gone', token: 'stale', invoice: null });
    await tab.opened();
    expect(tab.state).toMatchObject({ session: null, notice: { text: TEXTS.stale } });
    expect(new Keeping(kept).read()).toBeNull();
  });

  it('the session, by the token that another tab topped up for', async () => {
    await tab.ordered();
    await tab.panel.funding.pay(await wallet());
    // The other tab's top-up is confirmed, and its token has revoked this one's.
    provider.token = 'token-2';
    Object.assign(provider.invoice ?? {}, { invoiceId: 'invoice-2', kind: 'topup' });
    const asked = { sessionId: SESSION, token: 'token-1', invoice: { id: 'invoice-2', token: 'token-2' } };
    new Keeping(kept).write(asked);
    const later = await new Tab(provider, kept).opened();
    expect(later.state.session?.sessionId).toBe(SESSION);
    expect(new Keeping(kept).read()).toEqual({ sessionId: SESSION, token: 'token-2', invoice: null });
  });
});

describe('a provider that goes away', () => {
  beforeEach(async () => {
    await tab.ordered();
    await tab.panel.funding.pay(await wallet());
    provider.up = false;
  });

  it('leaves the session in sight, and what was asked open to be asked again, charged once', async () => {
    await tab.panel.asking.ask('Is it there?');
    const [turn] = tab.state.turns;
    expect(turn?.outcome.kind).toBe('unknown');
    expect(tab.state).toMatchObject({ session: { sessionId: SESSION } });
    expect(tab.state.outage).not.toBeNull();
    provider.up = true;
    if (turn) await tab.panel.asking.again(turn);
    if (turn) await tab.panel.asking.again(turn);
    expect(tab.state.turns[0]?.outcome).toMatchObject({ kind: 'answered', text: 'Yes.', cost: 8000n });
    expect(provider.answers.size).toBe(1);
    expect(tab.state.outage).toBeNull();
  });

  it('is asked again by the clock until it answers', async () => {
    await tab.panel.follow.restore();
    expect(tab.state.outage).not.toBeNull();
    provider.up = true;
    await tab.panel.follow.tick(NOW - (NOW % 3) + 3);
    expect(tab.state).toMatchObject({ outage: null, notice: { text: TEXTS.backAgain } });
  });
});
