/** Answers as the provider gives them (docs/people-api.md), to change one member of. */

export const PAYER = '7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU';
export const SESSION = '9wFFyRfZBsuAha4YcuxcXLKwMxJR43S7fPfQLusDBzvT';

export const OFFER = {
  offerId: 'standard',
  description: 'Answers to questions',
  people: true,
  sponsored: false,
  network: 'localnet',
  programId: 'reUf7A1fqcJL4gQQmEbTReMuidTJnUF48pJUddZqnZT',
  payee: '4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T',
  operator: '8opHzTAnfzRpPEx21XtnrVTX28YQuCpAjcn1PczScKh9',
  token: {
    mint: '4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU',
    symbol: 'USDC',
    decimals: 6,
    tokenProgram: 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA',
  },
  price: '8000',
  suggestedDeposit: '1000000',
  minimumDeposit: '80000',
  maximumDeposit: '100000000',
  presets: [{ amount: '500000' }, { amount: '1000000' }],
  durationSeconds: 86400,
  gracePeriodSeconds: 3600,
  idleTimeoutSeconds: 3600,
  maxFreeAnswers: 100,
  slaTerms: { version: 1, maxLatencyMs: 2000, acceptedStatuses: ['2xx'], minBodyBytes: 1 },
  slaHash: '00'.repeat(32),
  routes: ['/v1/ask'],
  ask: { method: 'POST', path: '/v1/ask', body: { question: '{question}' }, answer: '/answer', streams: false },
};

export const SERVICE = {
  realm: 'api.your-domain.org',
  network: 'localnet',
  people: { solanaPay: false, solanaPayReason: 'No public HTTPS address.' },
  offers: [OFFER],
};

export const LIVE = {
  sessionId: SESSION,
  offerId: 'standard',
  agent: PAYER,
  deposit: '1000000',
  remaining: '1000000',
  spent: '0',
  pricePerRequest: '8000',
  requestsMade: 0,
  requestsLeft: '125',
  expiresAt: 1_800_086_400,
  state: 'active',
};

export const INVOICE = {
  invoiceId: 'invoice-1',
  kind: 'open',
  state: 'waiting',
  detail: 'Waiting for your wallet.',
  offer: 'standard',
  amount: '1000000',
  expiresAt: 1_800_000_300,
  payer: null,
  sessionId: null,
  transaction: null,
  submit: 'wallet',
  received: null,
  solanaPayUrl: null,
  solanaPayReason: 'No public HTTPS address.',
};
