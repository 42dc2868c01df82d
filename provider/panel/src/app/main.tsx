/** Puts the page together. */

import { render } from 'preact';
import { Api } from '../api/client';
import '../styles/base.css';
import '../styles/head.css';
import '../styles/layout.css';
import '../styles/controls.css';
import '../styles/conversation.css';
import '../styles/hub.css';
import '../styles/card-list.css';
import '../styles/references.css';
import '../styles/card-thread.css';
import '../styles/narrow.css';
import { App } from '../views/App';
import { Keeping } from './keeping';
import { Panel } from './panel';
import { Store } from './store';

const root = document.getElementById('app');
const base = document.querySelector<HTMLMetaElement>('meta[name="retainer-api"]')?.content ?? '/api';

if (root) {
  const store = new Store((state) => render(<App state={state} panel={panel} />, root));
  const panel = new Panel(new Api(base), store, new Keeping(localStorage));
  void panel.start(window);
}
