/** A page with the hub, before a provider of the tests. */

import { Api } from '../../src/api/client';
import { readService, readSession } from '../../src/api/read';
import { Keeping } from '../../src/app/keeping';
import { Store } from '../../src/app/store';
import { CardCalls } from '../../src/hub/calls';
import { Hub } from '../../src/hub/hub';
import { listed } from '../../src/hub/state';
import { SESSION } from '../made';
import { type CardProvider, NOW, WITH_CARDS } from './cards';

export class Page {
  readonly store = new Store(() => this.changed());
  changed = () => {};
  readonly hub: Hub;
  readonly keeping: Keeping;
  constructor(
    readonly provider: CardProvider,
    readonly kept: Storage,
  ) {
    this.keeping = new Keeping(kept);
    this.keeping.write({ sessionId: SESSION, token: 'token', invoice: null });
    this.hub = new Hub(new CardCalls(new Api('/api', provider.fetch)), this.store, this.keeping);
    this.store.set({ service: readService(WITH_CARDS), session: readSession(provider.session), live: true, now: NOW });
  }

  get state() {
    return this.store.state.hub;
  }

  async opened(): Promise<this> {
    await this.hub.follow.tick(NOW);
    return this;
  }

  heard(event: string, ref: string, more: object = {}): void {
    this.hub.follow.heard({ id: null, event, data: { scope: 'card', session_id: SESSION, ref, ...more } });
  }

  /** Until everything that was asked for has come. */
  async settled(): Promise<void> {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setTimeout(resolve));
  }

  titles(): (string | null)[] {
    return (listed(this.state) ?? []).map(({ title }) => title);
  }
}
