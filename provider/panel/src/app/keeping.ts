/**
 * What this browser keeps between visits: the session's id and tokens. All tabs share it, so that it is read anew
 * before each use and never remembered.
 *
 * A token can spend what is left on requests and close the session; it can never move money elsewhere than to the
 * provider's charge and back to the wallet that paid.
 */

export interface Kept {
  readonly sessionId: string | null;
  /** Of the session, or of the invoice that opens it. */
  readonly token: string;
  /** The invoice that still waits. A top-up's brings the token that replaces the session's once it is paid. */
  readonly invoice: { readonly id: string; readonly token: string } | null;
}

const STORED_AS = 'retainer.session';

export class Keeping {
  constructor(readonly storage: Storage) {}

  /** What is kept, or null; what cannot be read counts as nothing. */
  read(): Kept | null {
    return parse(this.storage.getItem(STORED_AS));
  }

  write(kept: Kept | null): void {
    if (kept) this.storage.setItem(STORED_AS, JSON.stringify(kept));
    else this.storage.removeItem(STORED_AS);
  }

  /** Calls `changed` when another tab wrote; returns what stops that. */
  watch(target: Window, changed: (kept: Kept | null) => void): () => void {
    const told = (event: StorageEvent) => {
      if (event.key === STORED_AS || event.key === null) changed(this.read());
    };
    target.addEventListener('storage', told);
    return () => target.removeEventListener('storage', told);
  }
}

function parse(text: string | null): Kept | null {
  try {
    const { sessionId, token, invoice } = JSON.parse(text ?? 'null');
    if (typeof token !== 'string' || !(sessionId === null || typeof sessionId === 'string')) return null;
    const whole = typeof invoice?.id === 'string' && typeof invoice?.token === 'string';
    return { sessionId, token, invoice: whole ? { id: invoice.id, token: invoice.token } : null };
  } catch {
    return null;
  }
}

/** Runs `act` in one tab at a time, so that two tabs never make an invoice each. */
export async function alone<Value>(act: () => Promise<Value>): Promise<Value> {
  // Browsers have locks on https and on this machine only; elsewhere no wallet signs either.
  return 'locks' in navigator ? navigator.locks.request(STORED_AS, act) : act();
}
