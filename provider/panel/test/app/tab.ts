/** A tab of a browser with the page's own parts, before a provider of the tests. */

import { Api } from '../../src/api/client';
import { Keeping } from '../../src/app/keeping';
import { Panel } from '../../src/app/panel';
import { Store } from '../../src/app/store';
import { AMOUNT, NOW, type Provider } from './provider';

export class Tab {
  readonly store = new Store(() => {});
  readonly panel: Panel;
  constructor(
    readonly provider: Provider,
    kept: Storage,
  ) {
    this.panel = new Panel(new Api('/api', provider.fetch), this.store, new Keeping(kept));
    this.store.set({ now: NOW });
  }

  get state() {
    return this.store.state;
  }

  async opened(): Promise<this> {
    await this.panel.follow.restore();
    return this;
  }

  async ordered(): Promise<this> {
    await this.opened();
    const offer = this.state.service?.offers[0];
    if (offer) await this.panel.funding.open(offer, AMOUNT);
    return this;
  }
}
