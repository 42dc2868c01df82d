/** Bringing the key of a local test wallet here, since a saved page does not share the storage of the one it came from. */

import { registerWallet } from '@wallet-standard/wallet';
import { useState } from 'preact/hooks';
import { localWallet, parseSecret, storedSecret } from '../wallet/local';
import { TEXTS } from './texts';

/** Shown on local networks only: no page should ever ask for a key that is worth something. */
export function LocalKey() {
  const [text, setText] = useState('');
  const [bad, setBad] = useState(false);
  // On the panel's own address: what its test wallet holds can be taken along.
  const [stored] = useState(() => (location.protocol.startsWith('http') ? storedSecret(localStorage) : null));
  const use = async () => {
    const seed = parseSecret(text);
    setBad(!seed);
    if (!seed) return;
    setText('');
    registerWallet(await localWallet(seed));
  };
  return (
    <details>
      <summary>{TEXTS.walletLocal}</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void use();
        }}
      >
        <label>
          {TEXTS.walletLocalKey}
          <input
            type="password"
            value={text}
            autocomplete="off"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <button type="submit">{TEXTS.walletLocal}</button>
      </form>
      {stored && (
        <p>
          {TEXTS.walletLocalStored} <code>{stored}</code>
        </p>
      )}
      {bad && (
        <p class="problem" role="alert">
          {TEXTS.walletLocalBad}
        </p>
      )}
    </details>
  );
}
