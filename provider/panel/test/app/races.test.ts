/** What comes late finds that the person has begun with something else, and leaves that alone. */

import { SolanaSignAndSendTransaction } from '@solana/wallet-standard-features';
import type { Wallet } from '@wallet-standard/base';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { readInvoice, readSession } from '../../src/api/read';
import { Keeping } from '../../src/app/keeping';
import { TEXTS } from '../../src/texts/en';
import { localWallet } from '../../src/wallet/local';
import { LIVE } from '../made';
import { storage } from '../storage';
import { AMOUNT, Provider, SESSION } from './provider';
import { Tab } from './tab';

const OTHER = '4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T';
const CLOSE = `GET /sessions/${SESSION}/close`;

let provider: Provider;
let kept: Storage;
let tab: Tab;
beforeEach(() => {
  vi.stubGlobal('navigator', {});
  provider = new Provider();
  kept = storage();
  tab = new Tab(provider, kept);
});

/** A wallet that asks until it is answered. */
async function asking(): Promise<{ wallet: Wallet; asked: () => boolean; answer: (yes: boolean) => void }> {
  let answer = (_: boolean) => {};
  let asked = false;
  const answered = new Promise<boolean>((come) => (answer = come));
  const wallet = await localWallet(new Uint8Array(32).fill(1), (request) => {
    if (request === 'connect') return true;
    asked = true;
    return answered;
  });
  return { wallet, asked: () => asked, answer };
}

async function funded(): Promise<Keeping> {
  await tab.ordered();
  await tab.panel.funding.pay(await localWallet(new Uint8Array(32).fill(1)));
  expect(tab.state.session?.state).toBe('active');
  return new Keeping(kept);
}

async function anotherOrder(): Promise<void> {
  const offer = tab.state.service?.offers[0];
  if (offer) await tab.panel.funding.open(offer, AMOUNT);
}

describe('a wallet that is still asking', () => {
  it.each([true, false])('holds up nobody who cancelled, whether it signs then or not: %s', async (yes) => {
    await tab.ordered();
    const { wallet, asked, answer } = await asking();
    const paying = tab.panel.funding.pay(wallet);
    await vi.waitFor(() => expect(asked()).toBe(true));
    tab.panel.funding.abandon();
    expect(tab.state).toMatchObject({ invoice: null, busy: null });
    await anotherOrder();
    expect(tab.state.invoice?.state).toBe('waiting');
    answer(yes);
    await paying;
    expect(provider.count('POST /invoices/invoice-1/transaction')).toBe(0);
    expect(tab.state).toMatchObject({ invoice: { state: 'waiting' }, busy: null, notice: null });
  });

  it('and sends by itself what was cancelled is told of', async () => {
    await tab.ordered();
    const honest = await localWallet(new Uint8Array(32).fill(1));
    let send = () => {};
    const sent = new Promise<void>((come) => (send = come));
    const signing = vi.fn(() => sent.then(() => [{ signature: new Uint8Array(64) }]));
    const sends = { version: '1.0.0', supportedTransactionVersions: ['legacy', 0], signAndSendTransaction: signing };
    const { 'solana:signTransaction': _, ...features } = honest.features as Record<string, unknown>;
    const wallet = { ...honest, features: { ...features, [SolanaSignAndSendTransaction]: sends } };
    const { accounts } = await honest.features['standard:connect'].connect();
    const able = accounts.map((one) => ({
      address: one.address,
      publicKey: one.publicKey,
      chains: one.chains,
      features: [SolanaSignAndSendTransaction],
    }));
    const connected = { ...wallet, accounts: able } as unknown as Wallet;
    Object.assign(connected.features, {
      'standard:connect': { version: '1.0.0', connect: async () => ({ accounts: able }) },
    });
    const paying = tab.panel.funding.pay(connected);
    await vi.waitFor(() => expect(signing).toHaveBeenCalled());
    tab.panel.funding.abandon();
    send();
    await paying;
    expect(tab.state.notice?.text).toBe(TEXTS.sentAfterCancel);
  });

  it('for a proof lets go on elsewhere', async () => {
    await tab.opened();
    tab.panel.show('recover');
    let allow = (_: boolean) => {};
    const allowed = new Promise<boolean>((come) => (allow = come));
    const recovering = tab.panel.recover(await localWallet(new Uint8Array(32).fill(1), () => allowed));
    expect(tab.state.busy).toBe('recovering');
    tab.panel.show('offer');
    await anotherOrder();
    expect(tab.state.invoice?.state).toBe('waiting');
    allow(false);
    await recovering;
    expect(tab.state).toMatchObject({ invoice: { state: 'waiting' }, notice: null, busy: null });
  });
});

describe('what is told late', () => {
  it('of a payer’s transaction brings no invoice back that was cancelled', async () => {
    await tab.ordered();
    const release = provider.hold('POST /invoices/invoice-1/payer');
    const paying = tab.panel.funding.pay(await localWallet(new Uint8Array(32).fill(1)));
    await vi.waitFor(() => expect(provider.count('POST /invoices/invoice-1/payer')).toBe(1));
    tab.panel.funding.abandon();
    release();
    await paying;
    expect(tab.state).toMatchObject({ invoice: null, busy: null, notice: null });
    expect(new Keeping(kept).read()).toBeNull();
  });

  it('of the session takes no invoice away that was made meanwhile', async () => {
    const keeping = await funded();
    const release = provider.hold(`GET /sessions/${SESSION}`);
    const restoring = tab.panel.follow.restore();
    await vi.waitFor(() => expect(provider.calls.at(-1)).toBe(`GET /sessions/${SESSION}`));
    await tab.panel.funding.topUp(AMOUNT);
    expect(tab.state.invoice?.invoiceId).toBe('invoice-1');
    release();
    await restoring;
    expect(tab.state.invoice?.invoiceId).toBe('invoice-1');
    expect(keeping.read()?.invoice?.id).toBe('invoice-1');
  });

  it('of a session that is left shows it no more, and forgets none that came after', async () => {
    const keeping = await funded();
    const old = readSession({ ...LIVE, sessionId: SESSION, state: 'refunded' });
    keeping.write({ sessionId: OTHER, token: 'token-2', invoice: null });
    tab.store.set({ session: readSession({ ...LIVE, sessionId: OTHER }) });
    tab.panel.follow.tookSession(old);
    expect(tab.state.session?.sessionId).toBe(OTHER);
    expect(keeping.read()?.token).toBe('token-2');
    keeping.write(null);
    tab.panel.startOver();
    tab.panel.follow.tookSession({ ...old, state: 'active' });
    expect(tab.state.session).toBeNull();
  });

  it('of a session that is over leaves the sheet that was opened since', async () => {
    await funded();
    const over = readSession({ ...LIVE, sessionId: SESSION, deposit: String(AMOUNT), state: 'refunded' });
    tab.panel.follow.tookSession(over);
    tab.panel.show('recover');
    tab.panel.follow.tookSession(over);
    expect(tab.state.sheet).toBe('recover');
  });

  it('by another tab, that nothing is kept, leaves what was begun here', async () => {
    const keeping = await funded();
    const release = provider.hold(`GET /sessions/${SESSION}`);
    const adopting = tab.panel.follow.adopt(null);
    keeping.write({ sessionId: null, token: 'token-1', invoice: { id: 'invoice-1', token: 'token-1' } });
    tab.store.set({ session: null });
    await tab.panel.follow.tookInvoice(readInvoice({ ...provider.invoice, state: 'waiting' }));
    release();
    await adopting;
    expect(tab.state.invoice?.state).toBe('waiting');
  });

  it('of what closing comes to leaves who went on to a top-up', async () => {
    await funded();
    const release = provider.hold(CLOSE);
    const looking = tab.panel.previewClose();
    await vi.waitFor(() => expect(provider.count(CLOSE)).toBe(1));
    tab.panel.show('topup');
    await tab.panel.funding.topUp(AMOUNT);
    expect(tab.state.invoice?.invoiceId).toBe('invoice-1');
    release();
    await looking;
    expect(tab.state).toMatchObject({ sheet: 'topup', closing: null, busy: null });
  });

  it('of what would pay is no older than what was told since', async () => {
    await tab.opened();
    const release = provider.hold('POST /ask/preview');
    const first = tab.panel.follow.look();
    provider.freeLeft = 1;
    provider.hold('POST /ask/preview')();
    await tab.panel.follow.look();
    expect(tab.state.preview?.freeLeft).toBe(1);
    release();
    await first;
    expect(tab.state.preview?.freeLeft).toBe(1);
  });
});

it('what is asked for while everything is read is read once more', async () => {
  await funded();
  const release = provider.hold(`GET /sessions/${SESSION}`);
  const first = tab.panel.follow.restore();
  await vi.waitFor(() => expect(provider.calls.at(-1)).toBe(`GET /sessions/${SESSION}`));
  Object.assign(provider.session ?? {}, { requestsMade: 3, spent: '24000' });
  await tab.panel.follow.restore();
  release();
  await first;
  expect(tab.state.session?.requestsMade).toBe(3);
});
