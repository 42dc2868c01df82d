/** What is written and not sent yet, kept over a reload: of the question, of a new card, and of each card. */

/** Where a draft waits: a card's id, or one of the two inputs that are no card's. */
export const QUESTION = 'question';
export const NEW_CARD = 'new';

export type Drafts = Readonly<Record<string, string>>;

const STORED_AS = 'retainer.drafts';

export class KeptDrafts {
  constructor(private readonly storage: Storage) {}

  /** What is kept; what cannot be read counts as nothing. */
  read(): Drafts {
    try {
      const kept: unknown = JSON.parse(this.storage.getItem(STORED_AS) ?? '{}');
      return Object.fromEntries(Object.entries(kept as object).filter(([, text]) => typeof text === 'string'));
    } catch {
      return {};
    }
  }

  /** Keeps one draft, beside those that other tabs wrote; an empty one is forgotten. */
  write(place: string, text: string): Drafts {
    const { [place]: _, ...others } = this.read();
    return this.keep(text ? { ...others, [place]: text } : others);
  }

  /** Forgets the drafts of all cards: their session is over. */
  forgetCards(): Drafts {
    const { [QUESTION]: question = '', [NEW_CARD]: fresh = '' } = this.read();
    return this.keep({ ...(question && { [QUESTION]: question }), ...(fresh && { [NEW_CARD]: fresh }) });
  }

  private keep(drafts: Drafts): Drafts {
    if (Object.keys(drafts).length === 0) this.storage.removeItem(STORED_AS);
    else this.storage.setItem(STORED_AS, JSON.stringify(drafts));
    return drafts;
  }
}
