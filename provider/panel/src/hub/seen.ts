/** How far each card was read in this browser, and how its hub stands. */

export type Seen = Readonly<Record<string, number>>;

const SEEN_AS = 'retainer.seen';
const PINNED_AS = 'retainer.hub-pinned';

export class KeptHub {
  constructor(private readonly storage: Storage) {}

  get pinned(): boolean {
    return this.storage.getItem(PINNED_AS) === 'yes';
  }

  set pinned(yes: boolean) {
    if (yes) this.storage.setItem(PINNED_AS, 'yes');
    else this.storage.removeItem(PINNED_AS);
  }

  /** The lines that were read of a session's cards; null where this browser has not shown them yet. */
  seen(session: string): Seen | null {
    try {
      const kept = JSON.parse(this.storage.getItem(SEEN_AS) ?? 'null');
      return kept?.session === session && typeof kept.lines === 'object' ? kept.lines : null;
    } catch {
      return null;
    }
  }

  saw(session: string, lines: Seen): Seen {
    this.storage.setItem(SEEN_AS, JSON.stringify({ session, lines }));
    return lines;
  }

  forget(): void {
    this.storage.removeItem(SEEN_AS);
  }
}
