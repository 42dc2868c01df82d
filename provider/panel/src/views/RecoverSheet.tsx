/** Finding a session again whose key this browser has lost. */

import type { Panel } from '../app/panel';
import type { State } from '../app/state';
import { TEXTS } from '../texts/en';
import { Title } from './parts';
import { Wallets } from './Wallets';

export function RecoverSheet({ state, panel }: { state: State; panel: Panel }) {
  return (
    <>
      <Title>{TEXTS.recover}</Title>
      <p class="means">{TEXTS.recoverHint}</p>
      <Wallets
        wallets={state.wallets}
        busy={state.busy !== null}
        action={TEXTS.askWallet}
        choose={(wallet) => void panel.recover(wallet)}
      />
      <button type="button" class="plain" onClick={() => panel.show('offer')}>
        {TEXTS.back}
      </button>
    </>
  );
}
