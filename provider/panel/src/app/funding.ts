/** Paying: an invoice is made, a wallet signs exactly what the page showed, and the provider hears of it. */

import { address, getBase16Encoder, getBase64Codec } from '@solana/kit';
import type { Wallet } from '@wallet-standard/base';
import { type Api, ApiError } from '../api/client';
import { readShortage } from '../api/read';
import type { Invoice, Lack, Offer } from '../api/types';
import { deriveVault } from '../chain/addresses';
import { type Checked, checkOpening, checkTopUp } from '../chain/check';
import { poorText, refusalText, TEXTS } from '../texts/en';
import { clusterNamed } from '../wallet/clusters';
import { signToSend, signTransaction } from '../wallet/signing';
import { type Connected, connect } from '../wallet/wallets';
import { money, sol } from '../views/money';
import type { Follow } from './follow';
import { alone, type Keeping } from './keeping';
import { offerOf } from './state';
import type { Store } from './store';

const base64 = getBase64Codec();
const hex = getBase16Encoder();

export class Funding {
  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly keeping: Keeping,
    private readonly follow: Follow,
  ) {}

  /** Makes the invoice of a new session. */
  open(offer: Offer, amount: bigint): Promise<void> {
    return this.make(async () => {
      const kept = this.keeping.read();
      if (kept) return this.follow.adopt(kept); // another tab was quicker
      const { invoice, token } = await this.api.fund(offer.offerId, amount, null);
      // Before any wallet is asked: with it the deposit is found again, whatever happens to this tab.
      this.keeping.write({ sessionId: invoice.sessionId, token, invoice: { id: invoice.invoiceId, token } });
      this.store.set({ invoice });
      this.follow.hear(token);
    });
  }

  /** Makes the invoice of a top-up. */
  topUp(amount: bigint): Promise<void> {
    return this.make(async () => {
      const kept = this.keeping.read();
      if (!kept?.sessionId) return;
      if (kept.invoice) return this.follow.adopt(kept);
      const { invoice, token } = await this.api.topUp(kept.sessionId, kept.token, amount);
      const now = this.keeping.read();
      if (now?.sessionId !== kept.sessionId) return; // it was closed meanwhile
      this.keeping.write({ ...now, invoice: { id: invoice.invoiceId, token } });
      this.store.set({ invoice });
    });
  }

  /** Asks a wallet to sign the invoice's transaction, and hands it in. */
  pay(wallet: Wallet): Promise<void> {
    return this.store.during('wallet', async (still) => {
      const connected = await this.account(wallet, still);
      if (!connected || !still()) return;
      try {
        await this.sign(connected, still);
      } catch (error) {
        this.tooPoor(error);
      }
    });
  }

  /** Lets the invoice go. What was paid on it all the same is still found by its wallet. */
  abandon(): void {
    const kept = this.keeping.read();
    const tops = this.store.state.invoice?.kind === 'topup';
    this.keeping.write(tops && kept ? { ...kept, invoice: null } : null);
    if (!tops) this.follow.hush();
    this.store.set({ invoice: null, showQr: false, notice: null, sheet: 'offer' });
    // Nobody waits for a wallet that is still asking; what it signs after this goes nowhere.
    if (this.store.state.busy === 'wallet') this.store.release();
    void this.follow.look();
  }

  private make(act: () => Promise<void>): Promise<void> {
    return this.store.during('funding', () => alone(act));
  }

  /** Says what the wallet lacks, in numbers, if that is what went wrong. */
  private tooPoor(error: unknown): void {
    const { service, invoice } = this.store.state;
    const offer = service && offerOf(service, invoice?.offer ?? null);
    if (!(error instanceof ApiError) || error.problem !== 'funds-insufficient' || !offer) throw error;
    const { tokens, lamports } = readShortage(error.body);
    const lack = ({ held, needed }: Lack, shown: (units: bigint) => string) => [shown(held), shown(needed)] as const;
    const tokensLack = tokens && lack(tokens, (units) => money(units, offer));
    this.store.say(poorText(tokensLack, lamports && lack(lamports, sol)), 'bad');
  }

  private async account(wallet: Wallet, still: () => boolean): Promise<Connected | null> {
    const outcome = await connect(wallet);
    if (outcome.kind === 'done') {
      this.store.set({ connected: outcome.value });
      return outcome.value;
    }
    if (still()) this.store.sayWallet(outcome);
    return null;
  }

  private async sign(connected: Connected, still: () => boolean): Promise<void> {
    const invoice = await this.readied(connected.account.address);
    const { service } = this.store.state;
    const offer = service && offerOf(service, invoice?.offer ?? null);
    const chain = service && clusterNamed(service.network);
    if (!invoice || !offer || !chain || !invoice.transaction || !still()) return;
    const bytes = new Uint8Array(base64.encode(invoice.transaction));
    const checked = await this.check(bytes, invoice, offer, connected.account.address);
    if (!still()) return;
    if (!checked.ok) return this.store.say(refusalText(checked.refusal), 'bad');
    if (invoice.sessionId && 'session' in checked && checked.session !== invoice.sessionId) {
      return this.store.say(refusalText('other-accounts'), 'bad');
    }
    if (invoice.submit === 'post') {
      const signed = await signTransaction(connected, bytes, chain);
      if (!still()) return;
      if (signed.kind === 'done') await this.handIn(invoice, signed.value);
      else this.store.sayWallet(signed);
      return;
    }
    const signed = await signToSend(connected, bytes, chain);
    if (!still()) {
      const sent = signed.kind === 'done' && signed.value.sent;
      const alone = invoice.kind === 'open' && this.store.state.session === null && this.follow.isOver(invoice);
      if (sent && alone) this.store.say(TEXTS.sentAfterCancel, 'bad');
      return;
    }
    if (signed.kind !== 'done') this.store.sayWallet(signed);
    else if (!signed.value.sent) await this.handIn(invoice, signed.value.transaction);
    else await this.follow.sentByWallet(invoice);
  }

  /** The invoice with this payer's transaction and a fresh blockhash; null, with a sentence, where it is another's. */
  private async readied(payer: string): Promise<Invoice | null> {
    const kept = this.keeping.read();
    const known = this.store.state.invoice;
    if (!kept?.invoice || !known) return null;
    try {
      const { id } = kept.invoice;
      const ready = known.payer
        ? await this.api.invoice(id, kept.token)
        : await this.api.namePayer(id, kept.token, payer);
      if (ready.payer !== payer) {
        if (!this.follow.isOver(ready)) this.store.say(TEXTS.otherWallet, 'bad');
        return null;
      }
      const now = this.keeping.read();
      if (!now || this.follow.isOver(ready)) return null;
      if (now.sessionId === null) this.keeping.write({ ...now, sessionId: ready.sessionId });
      await this.follow.tookInvoice(ready);
      return ready.state === 'waiting' || ready.state === 'confirming' ? ready : null;
    } catch (error) {
      if (!(error instanceof ApiError) || error.problem !== 'wallet-mismatch') throw error;
      this.store.say(TEXTS.otherWallet, 'bad');
      return null;
    }
  }

  private async check(bytes: Uint8Array, invoice: Invoice, offer: Offer, payer: string): Promise<Checked> {
    if (invoice.kind === 'topup') {
      const session = address(invoice.sessionId ?? '');
      const program = address(offer.programId);
      const escrow = await deriveVault(session, program);
      const account = { address: session, payer: address(payer), escrow, mint: address(offer.token.mint) };
      return checkTopUp(bytes, account, invoice.amount, address(offer.token.tokenProgram), program);
    }
    return checkOpening(bytes, {
      program: address(offer.programId),
      payer: address(payer),
      payee: address(offer.payee),
      operator: address(offer.operator),
      mint: address(offer.token.mint),
      tokenProgram: address(offer.token.tokenProgram),
      decimals: offer.token.decimals,
      amount: invoice.amount,
      pricePerUnit: offer.price,
      gracePeriod: offer.gracePeriodSeconds,
      expiresAt: offer.durationSeconds === null ? null : this.store.state.now + offer.durationSeconds,
      slaHash: new Uint8Array(hex.encode(offer.slaHash)),
    });
  }

  private async handIn(invoice: Invoice, transaction: Uint8Array): Promise<void> {
    const token = this.keeping.read()?.token;
    if (!token) return;
    await this.follow.handingIn(invoice, () => this.api.pay(invoice.invoiceId, token, base64.decode(transaction)));
  }
}
