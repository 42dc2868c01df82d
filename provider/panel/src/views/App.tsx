/** The page: what is left on top, the session beside the conversation, and the input bar below. */

import type { Panel } from '../app/panel';
import { offerOf, type Scene, sceneOf, type State } from '../app/state';
import { modeOf } from '../hub/state';
import { TEXTS } from '../texts/en';
import { AskBar } from './AskBar';
import { HubButton } from './cards/HubButton';
import { HubPanel } from './cards/HubPanel';
import { Conversation } from './Conversation';
import { Hud } from './Hud';
import { OfferSheet } from './OfferSheet';
import { Title } from './parts';
import { PayingSheet } from './PayingSheet';
import { RecoverSheet } from './RecoverSheet';
import { SessionSheet } from './SessionSheet';

export function App({ state, panel }: { state: State; panel: Panel }) {
  const { service, session, notice, outage } = state;
  const scene = sceneOf(state);
  const offer = service && offerOf(service, session?.offerId ?? null);
  const cards = service !== null && service.responders.length > 0;
  const mode = cards ? modeOf(state.hub) : 'closed';
  const covered = mode === 'covering';
  return (
    <>
      <a class="skip" href="#question" inert={covered}>
        {TEXTS.skip}
      </a>
      <header inert={covered}>
        <div class="brand">
          <h1>{service?.realm ?? TEXTS.title}</h1>
          {service && service.network !== 'mainnet' && <p class="network">{TEXTS.testNetwork(service.network)}</p>}
        </div>
        {cards && <HubButton state={state.hub} hub={panel.hub} />}
        <Hud state={state} scene={scene} />
      </header>
      <div class="notices" role="status">
        {outage !== null && service && (
          <p class="notice bad">
            <span>
              {TEXTS.outage} <a href="./exit.html">{TEXTS.exit}</a>.
            </span>
          </p>
        )}
        {notice && !(outage !== null && notice.text === TEXTS.outage) && (
          <p class={`notice ${notice.tone}`}>
            <span>{notice.text}</span>
            <button type="button" class="link" onClick={() => panel.dismiss()}>
              {TEXTS.dismiss}
            </button>
          </p>
        )}
      </div>
      <main data-hub={mode}>
        {mode !== 'closed' && <HubPanel state={state} panel={panel} />}
        <section class="sheet" aria-label={TEXTS.session} data-scene={scene.kind} inert={covered}>
          <SceneView state={state} scene={scene} panel={panel} />
        </section>
        <div class="talk" inert={covered}>
          <Conversation state={state} offer={offer} panel={panel} />
          <AskBar state={state} offer={offer} panel={panel} />
        </div>
      </main>
    </>
  );
}

function SceneView({ state, scene, panel }: { state: State; scene: Scene; panel: Panel }) {
  if (state.sheet === 'recover' && scene.kind === 'offer') return <RecoverSheet state={state} panel={panel} />;
  switch (scene.kind) {
    case 'loading':
      return <p class="means">{TEXTS.loading}</p>;
    case 'unreachable':
      return (
        <>
          <Title>{TEXTS.unreachable}</Title>
          <p>{TEXTS.unreachableHint}</p>
          <p>
            <a href="./exit.html">{TEXTS.exit}</a>.
          </p>
        </>
      );
    case 'nothing-to-fund':
      return <p>{TEXTS.nothingToFund}</p>;
    case 'paying':
      return <PayingSheet state={state} invoice={scene.invoice} offer={scene.offer} panel={panel} />;
    case 'session':
      return <SessionSheet state={state} panel={panel} {...scene} />;
    case 'offer':
      return <OfferSheet state={state} offer={scene.offer} panel={panel} />;
  }
}
