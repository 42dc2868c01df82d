/** The panel's own front door: everything that a person can do on the page. */

import { getBase64Decoder, getUtf8Encoder } from '@solana/kit';
import type { Wallet } from '@wallet-standard/base';
import type { Api, Proof } from '../api/client';
import type { Challenge } from '../api/types';
import { CardCalls } from '../hub/calls';
import { Hub } from '../hub/hub';
import { TEXTS } from '../texts/en';
import { offerLocalWallet } from '../wallet/local';
import { signMessage } from '../wallet/signing';
import { type Connected, connect, watchWallets } from '../wallet/wallets';
import { Asking } from './asking';
import { Follow } from './follow';
import { Funding } from './funding';
import type { Keeping } from './keeping';
import type { Sheet } from './state';
import type { Store } from './store';

const base64 = getBase64Decoder();
const utf8 = getUtf8Encoder();

export class Panel {
  readonly follow: Follow;
  readonly funding: Funding;
  readonly asking: Asking;
  readonly hub: Hub;
  private offered = false;

  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly keeping: Keeping,
  ) {
    this.hub = new Hub(new CardCalls(api), store, keeping);
    this.follow = new Follow(api, store, keeping, (event) => this.hub.follow.heard(event));
    this.funding = new Funding(api, store, keeping, this.follow);
    this.asking = new Asking(api, store, keeping, this.follow);
  }

  /** Begins: wallets, the kept session, other tabs, and the clock. */
  async start(page: Window): Promise<void> {
    watchWallets((wallets) => this.store.set({ wallets }));
    this.keeping.watch(page, (kept) => void this.follow.adopt(kept));
    this.store.set({ now: seconds() });
    this.hub.start(page);
    page.setInterval(() => void this.tick(page), 1000);
    await this.follow.restore();
    await this.hub.follow.tick(seconds());
    await this.offerLocalWallet(page);
  }

  private async tick(page: Window): Promise<void> {
    await this.follow.tick(seconds());
    await this.hub.follow.tick(seconds());
    await this.offerLocalWallet(page);
  }

  /** Where money is worth nothing, the page brings a wallet of its own. */
  private async offerLocalWallet(page: Window): Promise<void> {
    if (this.offered || this.store.state.service?.network !== 'localnet') return;
    this.offered = true;
    await offerLocalWallet(page.localStorage, givenSeed(page));
  }

  show(sheet: Sheet): void {
    // Whoever goes on does not wait for a wallet that is still asking, or for a preview.
    const { busy, closing } = this.store.state;
    if (busy === 'recovering' || (busy === 'closing' && closing === null)) this.store.release();
    this.store.set({ sheet, notice: null, closing: null });
  }

  toggleQr(): void {
    this.store.set({ showQr: !this.store.state.showQr });
  }

  dismiss(): void {
    this.store.set({ notice: null });
  }

  /** Leaves a session that is over, to fund a new one. */
  startOver(): void {
    this.store.set({ session: null, invoice: null, sheet: 'offer', notice: null });
    void this.follow.look();
  }

  /** What closing would do now, before it is done. */
  previewClose(): Promise<void> {
    return this.store.during('closing', async (still) => {
      const kept = this.keeping.read();
      if (!kept?.sessionId) return;
      const closing = await this.api.closePreview(kept.sessionId, kept.token);
      if (still() && this.keeping.read()?.sessionId === kept.sessionId) this.store.set({ sheet: 'close', closing });
    });
  }

  close(): Promise<void> {
    return this.store.during('closing', async () => {
      const kept = this.keeping.read();
      if (kept?.sessionId) this.follow.tookSession(await this.api.close(kept.sessionId, kept.token));
    });
  }

  /** Finds a session whose token this browser has lost, by a message that its wallet signs. */
  recover(wallet: Wallet): Promise<void> {
    return this.store.during('recovering', async (still) => {
      const outcome = await connect(wallet);
      if (!still()) return;
      if (outcome.kind !== 'done') return this.store.sayWallet(outcome);
      const connected = outcome.value;
      const owner = connected.account.address;
      const listed = await this.prove(connected, await this.api.recoverChallenge(owner), still);
      if (!listed) return;
      const [session] = await this.api.recover(owner, listed);
      if (!still()) return;
      if (!session) return this.store.say(TEXTS.recoverNone);
      const replaced = await this.prove(connected, await this.api.tokenChallenge(session.sessionId), still);
      if (!replaced) return;
      const token = await this.api.replaceToken(session.sessionId, replaced);
      if (!still()) return;
      this.keeping.write({ sessionId: session.sessionId, token, invoice: null });
      this.store.set({ session: null, invoice: null, sheet: 'offer', connected });
      this.follow.hear(token);
      this.follow.tookSession(await this.api.session(session.sessionId, token));
      this.store.say(TEXTS.recovered, 'good');
    });
  }

  /** What the wallet signs of the challenge; null where it does not, or nobody waits for it any more. */
  private async prove(connected: Connected, challenge: Challenge, still: () => boolean): Promise<Proof | null> {
    const { text, nonce, expiresAt } = challenge;
    const signed = await signMessage(connected, new Uint8Array(utf8.encode(text)));
    if (!still()) return null;
    if (signed.kind === 'done') return { nonce, expiresAt, signature: base64.decode(signed.value) };
    this.store.sayWallet(signed);
    return null;
  }
}

/** The seed in `#local-wallet=…`, which never leaves the browser; the address bar forgets it. */
function givenSeed(page: Window): string | null {
  const seed = /^#local-wallet=([0-9a-f]{64})$/.exec(page.location.hash)?.[1];
  if (seed) page.history.replaceState(null, '', page.location.pathname);
  return seed ?? null;
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
