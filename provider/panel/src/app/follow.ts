/** Keeps the page in step with the provider: at the start, after a break, and with what other tabs do. */

import { type Api, ApiError } from '../api/client';
import { listen, type StreamEvent } from '../api/events';
import { members, readInvoice, readSession } from '../api/read';
import type { Invoice, Session } from '../api/types';
import { TEXTS } from '../texts/en';
import type { Keeping, Kept } from './keeping';
import { isFinal, isOpen, newer, offerOf, wayOf } from './state';
import type { Store } from './store';

const POLL_SECONDS = 2;
const RETRY_SECONDS = 3;
// A transaction that has not landed by then never does: its blockhash is forgotten.
const LANDING_SECONDS = 90;

export class Follow {
  private stopListening: (() => void) | null = null;
  private listeningWith: string | null = null;
  private asking = false;
  /** Whether everything is to be read once more, as it may have changed since it was asked for. */
  private again = false;
  private looks = 0;
  /** The invoice that its payer has done everything for, until when (Unix seconds), whatever the provider saw yet. */
  private paid: { readonly invoice: string; readonly until: number } | null = null;

  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly keeping: Keeping,
    /** Told of what happens on cards, which is none of this view's. */
    private readonly onCard: (event: StreamEvent) => void,
  ) {}

  /** Reads everything anew: what the provider offers, and how the kept session and invoice stand. */
  async restore(): Promise<void> {
    this.again = true;
    await this.alone(async () => {
      this.again = false;
      const service = await this.api.service();
      // Shown together: whoever has a session never sees an offer flash by.
      await this.catchUp(this.keeping.read());
      this.store.set({ service });
      this.store.reached();
      await this.look();
    });
  }

  /** Another tab wrote: take over what it did. */
  async adopt(kept: Kept | null): Promise<void> {
    try {
      if (kept) return await this.catchUp(kept);
      // The tab that saw the end keeps nothing; this one shows it as well.
      const session = await this.lastSight();
      if (this.keeping.read()) return; // begun anew since
      this.hush();
      this.store.set({ invoice: null, session, sheet: 'offer' });
      await this.look();
    } catch (error) {
      this.lost(error);
    }
  }

  /** A second went by. */
  async tick(now: number): Promise<void> {
    const { outage, service, invoice, session } = this.store.state;
    this.store.set({ now });
    if (!service || outage !== null) {
      if (now % RETRY_SECONDS === 0 && !this.asking) await this.restore();
      return;
    }
    const kept = this.keeping.read();
    if (!kept || this.asking || (!this.paid && now % POLL_SECONDS !== 0)) return;
    const waits = (invoice && isOpen(invoice)) || invoice?.state === 'expired' || session?.state === 'closing';
    // Events say it first; asking makes sure of it where none arrive.
    if (waits) await this.alone(() => this.catchUp(kept));
  }

  /** Asks what would pay for the next question, where no session does. */
  async look(): Promise<void> {
    const { state } = this.store;
    if (!state.service || wayOf(state).by === 'session') return;
    const rule = offerOf(state.service, null)?.ask;
    if (!rule) return;
    this.looks += 1;
    const { looks } = this;
    try {
      const preview = await this.api.preview(rule.method, rule.path.replace(/\?.*/, ''));
      if (looks === this.looks) this.store.set({ preview });
    } catch (error) {
      if (error instanceof ApiError && error.kind === 'refused') this.store.set({ preview: null });
      else this.lost(error);
    }
  }

  /** Takes over what was told of a session, unless more is known already, or it is another one's turn by now. */
  tookSession(told: Session): void {
    const { session } = this.store.state;
    const kept = this.keeping.read();
    if (told.sessionId !== (kept?.sessionId ?? session?.sessionId)) return;
    const now = newer(session, told);
    this.store.set({ session: now });
    const over = session?.sessionId === now.sessionId && isFinal(session);
    // What another session waits for, or a sheet that was opened since, stays.
    if (isFinal(now) && !over && (kept === null || kept.sessionId === now.sessionId)) {
      this.hush();
      this.keeping.write(null);
      this.store.set({ sheet: 'offer', closing: null, invoice: null });
      void this.look();
    }
  }

  /** Takes over what was told of the invoice; one that is paid becomes its session. */
  async tookInvoice(told: Invoice): Promise<void> {
    const { invoice } = this.store.state;
    // Events leave out what a wallet needs to pay.
    const known = invoice?.invoiceId === told.invoiceId ? invoice : null;
    const transaction = told.transaction ?? known?.transaction ?? null;
    const solanaPayUrl = told.solanaPayUrl ?? known?.solanaPayUrl ?? null;
    if (told.state !== 'active') {
      // An answer that was overtaken brings nothing back.
      if (this.isOver(told)) return;
      const paid = told.invoiceId === this.paid?.invoice && this.store.state.now < this.paid.until;
      const state = told.state === 'waiting' && paid ? 'confirming' : told.state;
      this.store.set({ invoice: { ...told, state, transaction, solanaPayUrl } });
      return;
    }
    const kept = this.keeping.read();
    if (told.sessionId && kept?.invoice?.id === told.invoiceId) {
      // From here on the token of a top-up is the session's; its first use revokes the older one.
      this.keeping.write({ sessionId: told.sessionId, token: kept.invoice.token, invoice: null });
    }
    const token = this.keeping.read()?.token;
    // The session comes before the invoice goes: nobody sees an offer flash by.
    if (told.sessionId && token) {
      this.tookSession(await this.api.session(told.sessionId, token));
      if (this.keeping.read()?.token === token) this.hear(token);
    }
    if (this.paid?.invoice === told.invoiceId) this.paid = null;
    // Told twice, it is over once: by then the person may have begun with something else.
    if (this.store.state.invoice?.invoiceId !== told.invoiceId) return;
    this.store.set({ invoice: null, sheet: 'offer', showQr: false });
    // Events can be quicker than the answer to what the wallet signed; whoever sees it paid may go on.
    if (this.store.state.busy === 'wallet') this.store.release();
    this.store.say(told.kind === 'open' ? TEXTS.opened : TEXTS.toppedUp, 'good');
  }

  /** Runs `pay` for an invoice, which shows as confirming until that has an answer. */
  async handingIn(invoice: Invoice, pay: () => Promise<Invoice>): Promise<void> {
    this.paid = { invoice: invoice.invoiceId, until: Infinity };
    this.store.set({ invoice: { ...invoice, state: 'confirming' } });
    let told = invoice;
    try {
      told = await pay();
    } catch (error) {
      if (!this.isOver(invoice)) throw error;
    } finally {
      if (this.paid?.invoice === invoice.invoiceId) this.paid = null;
      await this.tookInvoice(told);
    }
  }

  /** The wallet has sent the payment itself: it shows as confirming for as long as it can land, and is asked for at once. */
  async sentByWallet(invoice: Invoice): Promise<void> {
    this.paid = { invoice: invoice.invoiceId, until: this.store.state.now + LANDING_SECONDS };
    await this.tookInvoice(invoice);
    await this.catchUp(this.keeping.read());
  }

  /** Listens to the events of this token. */
  hear(token: string): void {
    if (this.listeningWith === token) return;
    this.hush();
    this.listeningWith = token;
    this.stopListening = listen(this.api, token, {
      heard: (event) => void this.heard(event).catch((error) => this.lost(error)),
      connected: (live) => {
        this.store.set({ live });
        // A stream that breaks is the first sign of a provider that is gone: find out before anybody asks.
        if (!live) void this.restore();
      },
      refused: () => void this.refused(token),
    });
  }

  hush(): void {
    this.stopListening?.();
    this.stopListening = null;
    this.listeningWith = null;
    this.store.set({ live: false });
  }

  /** Whether nobody waits for this invoice any more: it was paid, or let go. */
  isOver({ invoiceId }: Invoice): boolean {
    return this.keeping.read()?.invoice?.id !== invoiceId;
  }

  /** Reads, one reading at a time; what is asked for meanwhile is read behind it. */
  private async alone(read: () => Promise<void>): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    try {
      await read();
    } catch (error) {
      this.lost(error);
    } finally {
      this.asking = false;
    }
    if (this.again) await this.restore();
  }

  private async catchUp(kept: Kept | null): Promise<void> {
    if (!kept) return;
    this.hear(kept.token);
    try {
      if (kept.invoice) await this.tookInvoice(await this.api.invoice(kept.invoice.id, kept.token));
      // An invoice that opens a session has none to show until it is paid.
      const opens = kept.invoice !== null && this.store.state.invoice?.kind === 'open';
      const token = this.keeping.read()?.token;
      if (kept.sessionId && token && !opens) this.tookSession(await this.api.session(kept.sessionId, token));
      if (!this.keeping.read()?.invoice && this.store.state.invoice) this.store.set({ invoice: null, showQr: false });
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 404)) await this.refused(kept.token);
      else throw error;
    }
  }

  /** The session that this tab showed, if it is over. */
  private async lastSight(): Promise<Session | null> {
    const { session } = this.store.state;
    if (!session || isFinal(session) || !this.listeningWith) return session;
    const told = await this.api.session(session.sessionId, this.listeningWith);
    return isFinal(told) ? told : null;
  }

  private async heard(told: StreamEvent): Promise<void> {
    const { event, data } = told;
    const json = members(data);
    if (json.maybe('scope', json.text) === 'card') return this.onCard(told);
    if (event === 'token') return this.refused(this.listeningWith ?? '');
    if (json.has('session') && (event === 'session' || event === 'request')) {
      this.tookSession(readSession((data as { session: unknown }).session));
    }
    if (event === 'invoice' && json.has('invoice')) {
      const told = readInvoice((data as { invoice: unknown }).invoice);
      if (!this.isOver(told)) await this.tookInvoice(told);
    }
  }

  /** A token is not valid: another tab has a newer one, a top-up brought one, or the session is lost to this browser. */
  private async refused(token: string): Promise<void> {
    const kept = this.keeping.read();
    if (!kept || kept.token !== token) return kept ? this.catchUp(kept) : undefined;
    if (kept.invoice && kept.invoice.token !== token) {
      this.keeping.write({ ...kept, token: kept.invoice.token });
      return this.catchUp(this.keeping.read());
    }
    this.hush();
    this.keeping.write(null);
    this.store.set({ session: null, invoice: null });
    this.store.say(TEXTS.stale);
    await this.look();
  }

  private lost(error: unknown): void {
    if (error instanceof ApiError && error.kind === 'unreachable')
      this.store.set({ outage: error.message, notice: null });
    else this.store.fail(error);
  }
}
