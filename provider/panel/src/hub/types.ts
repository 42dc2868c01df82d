/** Quick session cards as the provider tells them (docs/cards.md). Amounts in base units, times in Unix seconds. */

export const CARD_STATUSES = ['needs_title', 'running', 'active', 'error', 'archived'] as const;
export type CardStatus = (typeof CARD_STATUSES)[number];

export interface Card {
  readonly id: string;
  readonly responder: string;
  readonly creator: string;
  readonly title: string | null;
  readonly status: CardStatus;
  readonly preview: string;
  readonly lines: number;
  /** Turns that are queued or running. */
  readonly waiting: number;
  /** What it has cost so far. */
  readonly amount: bigint;
  readonly lastError: string | null;
  readonly updatedAt: number;
}

export interface Line {
  readonly number: number;
  readonly role: 'person' | 'responder';
  readonly author: string;
  readonly at: number;
  readonly body: string;
  /** What its references show, by their text; null where the session has no such card or line. */
  readonly previews: ReadonlyMap<string, string | null>;
}

export interface Thread {
  readonly card: Card;
  readonly lines: readonly Line[];
}

export interface Responder {
  readonly name: string;
  readonly online: boolean;
  readonly offer: string;
  /** Of a turn; where it costs by use, the most that it may. */
  readonly price: bigint;
  readonly byUse: boolean;
}
