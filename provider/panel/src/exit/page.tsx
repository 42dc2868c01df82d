/** The page: three steps from top to bottom, each there once the one before it is done. */

import type { Wallet } from '@wallet-standard/base';
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useReducer, useState } from 'preact/hooks';
import { shortened } from '../chain/amounts';
import { deviceTimer } from '../chain/clock';
import { isLoopback } from '../chain/rpc';
import { watchAccount, watchWallets } from '../wallet/wallets';
import { LocalKey } from './local-key';
import { Exit, type Problem, type State } from './model';
import { SessionCard } from './session-card';
import { problemText, TEXTS } from './texts';

const REFRESH_MS = 5_000;

export function ExitPage() {
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  const exit = useMemo(() => new Exit(() => redraw(), deviceTimer), []);
  const { state } = exit;
  useEffect(() => {
    const tick = setInterval(redraw, 1_000);
    const refresh = setInterval(() => void exit.refresh(), REFRESH_MS);
    return () => (clearInterval(tick), clearInterval(refresh));
  }, [exit]);
  useEffect(
    () =>
      state.connected ? watchAccount(state.connected, (now) => (exit.useAccount(now), void exit.find())) : undefined,
    [exit, state.connected],
  );
  return (
    <main>
      <h1>{TEXTS.title}</h1>
      <p>{TEXTS.lead}</p>
      <NodeStep exit={exit} state={state} />
      {state.node && <WalletStep exit={exit} state={state} />}
      {state.node && state.connected && <SessionsStep exit={exit} state={state} />}
      {location.protocol.startsWith('http') && (
        <footer>
          <a href="exit.html" download="exit.html">
            {TEXTS.save}
          </a>{' '}
          {TEXTS.saveHint}
        </footer>
      )}
    </main>
  );
}

interface StepProps {
  readonly exit: Exit;
  readonly state: State;
}

function NodeStep({ exit, state }: StepProps) {
  return (
    <Section title={TEXTS.node} problem={state.nodeProblem}>
      <Ask
        label={TEXTS.nodeLabel}
        hint={TEXTS.nodeHint}
        action={TEXTS.nodeUse}
        type="url"
        busy={state.busy !== null}
        answer={(text) => exit.useNode(text)}
      />
      {state.node && (
        <p role="status">
          {state.node.rpc.url}: {TEXTS.nodeIs[state.node.cluster]}
        </p>
      )}
    </Section>
  );
}

function WalletStep({ exit, state }: StepProps) {
  const [wallets, setWallets] = useState<readonly Wallet[]>([]);
  useEffect(() => watchWallets(setWallets), []);
  const { node, connected } = state;
  const isLocal = node?.cluster === 'solana:localnet' && isLoopback(new URL(node.rpc.url));
  return (
    <Section title={TEXTS.wallet} problem={state.walletProblem}>
      {wallets.length === 0 && <p>{TEXTS.walletNone}</p>}
      <div class="row">
        {wallets.map((wallet) => (
          <button
            key={wallet.name}
            type="button"
            disabled={state.busy !== null}
            aria-pressed={connected?.wallet === wallet}
            onClick={() => void exit.useWallet(wallet)}
          >
            <img src={wallet.icon} alt="" width="20" height="20" /> {wallet.name}
          </button>
        ))}
      </div>
      {connected && <p role="status">{shortened(connected.account.address)}</p>}
      {isLocal && !connected && <LocalKey />}
    </Section>
  );
}

function SessionsStep({ exit, state }: StepProps) {
  const now = exit.now();
  return (
    <Section title={TEXTS.sessions} problem={state.rowsProblem}>
      <button type="button" disabled={state.busy !== null} onClick={() => void exit.find()}>
        {TEXTS.sessionsAgain}
      </button>
      {state.busy === 'sessions' && <p role="status">{TEXTS.working}</p>}
      {state.rows?.length === 0 && <p role="status">{TEXTS.sessionsNone}</p>}
      {now && state.rows?.map((row) => <SessionCard key={row.session.address} exit={exit} row={row} now={now} />)}
      <details open={state.rowsProblem !== null}>
        <summary>{TEXTS.addSummary}</summary>
        <Ask
          label={TEXTS.addLabel}
          hint={TEXTS.addHint}
          action={TEXTS.add}
          type="text"
          busy={state.busy !== null}
          answer={(text) => exit.add(text)}
        />
      </details>
    </Section>
  );
}

interface SectionProps {
  readonly title: string;
  readonly problem: Problem | null;
  readonly children: ComponentChildren;
}

function Section({ title, problem, children }: SectionProps) {
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {children}
      {problem && (
        <p class="problem" role="alert">
          {problemText(problem)}
        </p>
      )}
    </section>
  );
}

interface AskProps {
  readonly label: string;
  readonly hint: string;
  readonly action: string;
  readonly type: 'url' | 'text';
  readonly busy: boolean;
  readonly answer: (text: string) => Promise<void>;
}

function Ask({ label, hint, action, type, busy, answer }: AskProps) {
  const [text, setText] = useState('');
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void answer(text);
      }}
    >
      <label>
        {label}
        <input
          type="text"
          inputMode={type}
          value={text}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <button type="submit" disabled={busy}>
        {action}
      </button>
      <small>{hint}</small>
    </form>
  );
}
