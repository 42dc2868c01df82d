/** What the page knows and what it can do, without the page: state that is replaced, never changed. */

import { type Address, address } from '@solana/kit';
import type { Wallet } from '@wallet-standard/base';
import { parseAddress } from '../chain/addresses';
import { type ChainTime, chainTime, type Timer } from '../chain/clock';
import { ChainError } from '../chain/errors';
import { parseRpcUrl, Rpc } from '../chain/rpc';
import type { Session } from '../chain/session';
import { sessionAt, sessionsOf } from '../chain/sessions';
import { type Cluster, clusterOf } from '../wallet/clusters';
import type { Outcome } from '../wallet/outcomes';
import { type Connected, connect } from '../wallet/wallets';
import { type Left, leaveByRequest, leaveByWithdrawal, type Requested, type Returned } from './leave';

export interface Node {
  readonly rpc: Rpc;
  readonly cluster: Cluster;
}

/** What runs for a session now; the wallet first, the chain then. */
export type Step = 'signing' | 'confirming';

/** How the last step ended; `gone` when the session is over, whoever closed it. */
export type Ending = Left | Requested | Returned | { readonly kind: 'gone' };

export interface Row {
  readonly session: Session;
  readonly step: Step | null;
  readonly ending: Ending | null;
}

/** Why something that was typed or asked for did not work. */
export type Problem =
  | ChainError
  | Exclude<Outcome<never>, { kind: 'done' }>
  | { readonly kind: 'bad-url' | 'bad-address' | 'no-session' | 'other-payer' };

export interface State {
  readonly node: Node | null;
  readonly nodeProblem: Problem | null;
  readonly connected: Connected | null;
  readonly walletProblem: Problem | null;
  /** Null until the chain was searched. */
  readonly rows: readonly Row[] | null;
  readonly rowsProblem: Problem | null;
  readonly busy: 'node' | 'wallet' | 'sessions' | null;
  /** The chain's time, and when on this device it was read. */
  readonly time: { readonly chain: ChainTime; readonly readAt: number } | null;
}

const START: State = {
  node: null,
  nodeProblem: null,
  connected: null,
  walletProblem: null,
  rows: null,
  rowsProblem: null,
  busy: null,
  time: null,
};

export class Exit {
  state = START;

  constructor(
    private readonly changed: (state: State) => void,
    private readonly timer: Timer,
    private readonly rpcAt: (url: string) => Rpc = (url) => new Rpc(url),
  ) {}

  /** Work with the node at this URL, once it says which chain it is on. */
  async useNode(text: string): Promise<void> {
    const url = parseRpcUrl(text);
    this.set({ node: null, rows: null, rowsProblem: null, time: null });
    if (!url) return this.set({ nodeProblem: { kind: 'bad-url' } });
    const rpc = this.rpcAt(url);
    await this.during('node', 'nodeProblem', async () => {
      const cluster = clusterOf(await rpc.genesisHash());
      this.set({ node: { rpc, cluster } });
    });
    await this.find();
  }

  /** Ask a wallet for its account. */
  async useWallet(wallet: Wallet): Promise<void> {
    await this.during('wallet', 'walletProblem', async () => {
      const outcome = await connect(wallet);
      if (outcome.kind === 'done') this.useAccount(outcome.value);
      else this.set({ walletProblem: outcome });
    });
    await this.find();
  }

  /** The wallet's owner chose another account, or none any more. */
  useAccount(connected: Connected | null): void {
    this.set({ connected, rows: null, rowsProblem: null });
  }

  /** Search the chain for the payer's sessions. */
  async find(): Promise<void> {
    const { node, connected } = this.state;
    if (!node || !connected) return;
    await this.during('sessions', 'rowsProblem', async () => {
      await this.readTime(node);
      const found = await sessionsOf(node.rpc, address(connected.account.address));
      // An answer for a wallet or a node that was left meanwhile says nothing.
      if (this.state.node === node && this.state.connected === connected) this.merge(found);
    });
  }

  /** A session whose address the payer knows, for nodes that do not search. */
  async add(text: string): Promise<void> {
    const { node, connected, rows } = this.state;
    const wanted = parseAddress(text);
    if (!node || !connected) return;
    if (!wanted) return this.set({ rowsProblem: { kind: 'bad-address' } });
    await this.during('sessions', 'rowsProblem', async () => {
      await this.readTime(node);
      const session = await sessionAt(node.rpc, wanted);
      if (!session) return this.set({ rowsProblem: { kind: 'no-session' } });
      if (session.payer !== connected.account.address) return this.set({ rowsProblem: { kind: 'other-payer' } });
      const others = (rows ?? []).filter((row) => row.session.address !== wanted);
      this.set({ rows: [...others, { session, step: null, ending: null }] });
    });
  }

  /**
   * Read time and waiting sessions again, so that countdowns follow the chain and what others did is seen. Only these:
   * a node's patience with browsers is short.
   */
  async refresh(): Promise<void> {
    const waiting = this.state.rows?.filter(({ session }) => session.status === 'closing') ?? [];
    if (!this.state.busy) await this.reread(waiting);
  }

  requestClose(session: Session): Promise<void> {
    return this.leave(session, leaveByRequest);
  }

  withdraw(session: Session): Promise<void> {
    return this.leave(session, leaveByWithdrawal);
  }

  /** The chain's time now, as far as this device can tell. */
  now(): ChainTime | null {
    const { time } = this.state;
    if (!time) return null;
    const passed = BigInt(Math.floor(Math.max(0, this.timer.now() - time.readAt) / 1000));
    return { slot: time.chain.slot, time: time.chain.time + passed };
  }

  private async leave(
    session: Session,
    by: (way: Parameters<typeof leaveByRequest>[0], session: Session) => Promise<Ending>,
  ): Promise<void> {
    const { node, connected } = this.state;
    const row = this.row(session.address);
    // A second click, here or after it is over, does nothing.
    if (!node || !connected || !row || !this.isIdle(session.address)) return;
    this.change(session.address, { step: 'signing', ending: null });
    const progress = () => this.change(session.address, { step: 'confirming' });
    let ending: Ending;
    try {
      ending = await by({ ...node, connected, timer: this.timer, progress }, session);
    } catch (error) {
      this.change(session.address, { step: null });
      throw error;
    }
    this.change(session.address, { step: null, ending });
    await this.reread([row]);
  }

  private async reread(rows: readonly Row[]): Promise<void> {
    const { node } = this.state;
    const running = rows.map(({ session }) => session.address).filter((one) => this.isIdle(one));
    if (!node || running.length === 0) return;
    try {
      await this.readTime(node);
      for (const one of running) {
        const now = await sessionAt(node.rpc, one);
        if (this.state.node !== node) return;
        // What began or ended while this was asked is newer than the answer.
        if (this.isIdle(one)) this.change(one, now ? { session: now } : { ending: { kind: 'gone' } });
      }
    } catch (error) {
      problemOf(error); // the next time may do better; nothing that is shown became wrong
    }
  }

  private isIdle(wanted: Address): boolean {
    const row = this.row(wanted);
    return row !== undefined && row.step === null && !isOver(row.ending);
  }

  private async readTime(node: Node): Promise<void> {
    const chain = await chainTime(node.rpc);
    this.set({ time: { chain, readAt: this.timer.now() } });
  }

  /** What the chain has now, and what came back from sessions that it has no more. */
  private merge(found: readonly Session[]): void {
    const over = (this.state.rows ?? []).filter(({ ending }) => isOver(ending));
    const fresh = found.map((session) => ({ session, step: null, ending: null }));
    const left = fresh.filter(({ session }) => !over.some((row) => row.session.address === session.address));
    this.set({ rows: [...over, ...left] });
  }

  private row(wanted: Address): Row | undefined {
    return this.state.rows?.find(({ session }) => session.address === wanted);
  }

  private change(wanted: Address, change: Partial<Row>): void {
    const rows = this.state.rows?.map((row) => (row.session.address === wanted ? { ...row, ...change } : row));
    if (rows) this.set({ rows });
  }

  private async during(
    busy: NonNullable<State['busy']>,
    problem: 'nodeProblem' | 'walletProblem' | 'rowsProblem',
    act: () => Promise<void>,
  ): Promise<void> {
    if (this.state.busy) return;
    this.set({ busy, [problem]: null });
    try {
      await act();
    } catch (error) {
      this.set({ [problem]: problemOf(error) });
    } finally {
      this.set({ busy: null });
    }
  }

  private set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.changed(this.state);
  }
}

/** Whether nothing more can be done for a session. */
export function isOver(ending: Ending | null): boolean {
  return ending?.kind === 'returned' || ending?.kind === 'gone';
}

function problemOf(error: unknown): ChainError {
  if (error instanceof ChainError) return error;
  throw error;
}
