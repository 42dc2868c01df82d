/** What the provider's API for people says (docs/people-api.md). Amounts in base units, times in Unix seconds. */

export interface Token {
  readonly mint: string;
  readonly symbol: string | null;
  readonly decimals: number;
  readonly tokenProgram: string;
}

export interface Sla {
  readonly maxLatencyMs: number | null;
  readonly acceptedStatuses: readonly string[];
  readonly minBodyBytes: number | null;
}

export interface Offer {
  readonly offerId: string;
  readonly description: string;
  /** Whether a page can fund it: an escrow on chain, and no vouchers to sign. */
  readonly people: boolean;
  readonly sponsored: boolean;
  readonly network: string;
  readonly programId: string;
  readonly payee: string;
  readonly operator: string;
  readonly token: Token;
  readonly price: bigint;
  readonly suggestedDeposit: bigint;
  readonly minimumDeposit: bigint;
  readonly maximumDeposit: bigint;
  readonly presets: readonly bigint[];
  readonly durationSeconds: number | null;
  readonly gracePeriodSeconds: number;
  readonly idleTimeoutSeconds: number | null;
  readonly maxFreeAnswers: number;
  readonly sla: Sla | null;
  readonly slaHash: string;
  readonly routes: readonly string[];
  /** What a question on the page becomes; null of what no page can fund. */
  readonly ask: AskRule | null;
}

/** `{question}` stands for the question in `path`'s query or in texts of `body`; `answer` is a JSON pointer. */
export interface AskRule {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body: unknown;
  readonly answer: string;
  /** Whether answers may flow. */
  readonly streams: boolean;
}

export interface Service {
  readonly realm: string;
  readonly network: string;
  readonly genesisHash: string | null;
  readonly solanaPay: boolean;
  readonly solanaPayReason: string | null;
  readonly freeTier: { readonly asksPerDay: number; readonly routes: readonly string[] } | null;
  /** Who answers on cards, and by sessions of which offer. */
  readonly responders: readonly { readonly name: string; readonly offer: string }[];
  readonly offers: readonly Offer[];
}

export const INVOICE_STATES = ['waiting', 'confirming', 'active', 'expired', 'underpaid', 'rejected'] as const;
export type InvoiceState = (typeof INVOICE_STATES)[number];

export interface Invoice {
  readonly invoiceId: string;
  readonly kind: 'open' | 'topup';
  readonly state: InvoiceState;
  readonly detail: string;
  readonly offer: string;
  readonly amount: bigint;
  readonly expiresAt: number;
  readonly payer: string | null;
  readonly sessionId: string | null;
  /** Standard base64, unsigned; null until a payer is known, and in events. */
  readonly transaction: string | null;
  /** `post`: only the service sends it, since it pays the network fee. */
  readonly submit: 'wallet' | 'post';
  readonly received: bigint | null;
  readonly solanaPayUrl: string | null;
  readonly solanaPayReason: string | null;
}

/** What a wallet lacks to pay an invoice: units of the token and lamports, null where it has enough. */
export interface Shortage {
  readonly tokens: Lack | null;
  readonly lamports: Lack | null;
}

export interface Lack {
  readonly held: bigint;
  readonly needed: bigint;
}

/** An invoice as it is made; the only answer that has the token. */
export interface Made {
  readonly invoice: Invoice;
  readonly token: string;
}

export const SESSION_STATES = ['pending', 'active', 'depleted', 'expired', 'closing', 'refunded', 'abandoned'] as const;
export type SessionState = (typeof SESSION_STATES)[number];

export interface Session {
  readonly sessionId: string;
  readonly offerId: string;
  readonly payer: string;
  readonly state: SessionState;
  readonly deposit: bigint;
  readonly remaining: bigint;
  readonly spent: bigint;
  readonly price: bigint;
  readonly requestsMade: number;
  readonly requestsLeft: bigint;
  readonly expiresAt: number | null;
  readonly settled: bigint | null;
  readonly refund: bigint | null;
  readonly settlementSignature: string | null;
}

/** A request to the service behind, as `/request` and `/ask` take it. */
export interface Ask {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  /** Null where a replayed answer was too large to be kept. */
  readonly body: string | null;
  /** What kind of bytes `body` has in base64; null where it is text. */
  readonly binary: string | null;
  readonly charge: Charge;
  readonly session: Session | null;
}

export interface Charge {
  readonly kind: string;
  readonly amount: bigint;
  /** The SLA term that the answer broke. */
  readonly term: string | null;
}

export interface Preview {
  readonly coveredBy: 'session' | 'free' | 'payment' | 'nothing';
  readonly price: bigint;
  readonly freeLeft: number | null;
  readonly detail: string;
}

export interface ClosePreview {
  readonly toProvider: bigint;
  readonly toPayer: bigint;
  readonly payer: string;
  readonly provider: string;
}

export interface Challenge {
  readonly text: string;
  readonly nonce: string;
  readonly expiresAt: number;
}
