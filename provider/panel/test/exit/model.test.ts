import { address, getAddressEncoder, getBase64Decoder, getI64Encoder, getU64Encoder } from '@solana/kit';
import { beforeEach, describe, expect, test } from 'vitest';
import { deriveAta } from '../../src/chain/addresses';
import { ChainError } from '../../src/chain/errors';
import { ATA_PROGRAM, SESSION_PROGRAM, TOKEN_PROGRAM } from '../../src/chain/programs';
import { decodeTransaction } from '../../src/chain/transactions';
import { Exit } from '../../src/exit/model';
import { stageOf } from '../../src/exit/stage';
import { endingText, problemText } from '../../src/exit/texts';
import { localWallet, type Request } from '../../src/wallet/local';
import { FakeNode, fakeTimer, URL } from '../node';
import { addresses, fromHex, session as vector } from '../vectors';

const home = addresses[1]?.session ?? '';
const payer = address(vector.fields.payer);
const mint = address(vector.fields.mint);
const CLOSING = 2;
const CLOSED = 3;

let node: FakeNode;
let refused: Request | null;

/** The published session with another status and times. */
function account(status: number, startedAt = 0n): Uint8Array {
  const data = fromHex(vector.bytes);
  data[10] = status;
  data.set(getI64Encoder().encode(startedAt), 296);
  data.set(getI64Encoder().encode(0n), 312);
  return data;
}

async function tokenAccount(state = 1, amount = 5n): Promise<string> {
  const data = new Uint8Array(165);
  data.set(getAddressEncoder().encode(mint), 0);
  data.set(getAddressEncoder().encode(payer), 32);
  data.set(getU64Encoder().encode(amount), 64);
  data[108] = state;
  const ata = await deriveAta(payer, mint, TOKEN_PROGRAM);
  node.put(ata, TOKEN_PROGRAM, data);
  return ata;
}

async function opened(approve = true): Promise<Exit> {
  const exit = new Exit(
    () => {},
    fakeTimer(),
    () => node.rpc(),
  );
  await exit.useNode(URL);
  await exit.useWallet(await localWallet(new Uint8Array(32).fill(1), (request) => approve && request !== refused));
  return exit;
}

function row(exit: Exit) {
  const [first, ...more] = exit.state.rows ?? [];
  if (!first || more.length > 0) throw new Error(`${exit.state.rows?.length} sessions instead of one`);
  return first;
}

beforeEach(() => {
  node = new FakeNode();
  refused = null;
  const mintData = new Uint8Array(82);
  mintData[44] = 6;
  mintData[45] = 1;
  node.put(mint, TOKEN_PROGRAM, mintData);
  node.put(payer, payer, new Uint8Array(), 10_000_000);
  node.put(home, SESSION_PROGRAM, account(1));
});

describe('finding', () => {
  test("lists the payer's session and nothing that only looks like one", async () => {
    const foreign = account(1);
    foreign[20] = 0;
    node.put(mint.replace('E', 'F'), SESSION_PROGRAM, foreign);
    node.put(await deriveAta(payer, mint, SESSION_PROGRAM), TOKEN_PROGRAM, account(1));
    expect(row(await opened()).session.address).toBe(home);
  });

  test('says what is wrong with an address of a node', async () => {
    const exit = await opened();
    await exit.useNode('http://node.example');
    expect(exit.state).toMatchObject({ node: null, rows: null, nodeProblem: { kind: 'bad-url' } });
  });

  test('says that a node is none', async () => {
    node.instead.getGenesisHash = () => new Response('<html>');
    expect((await opened()).state).toMatchObject({ node: null, nodeProblem: { kind: 'garbage' } });
  });

  test('takes an address where the node does not search', async () => {
    node.instead.getProgramAccounts = () => ({ error: { code: -32010, message: 'excluded' } });
    const exit = await opened();
    expect(exit.state).toMatchObject({ rows: null, rowsProblem: { kind: 'unsupported' } });
    for (const [text, kind] of [
      ['hello', 'bad-address'],
      [payer.replace('A', 'B'), 'no-session'],
      [mint, 'foreign'],
    ]) {
      await exit.add(text ?? '');
      expect(exit.state.rowsProblem).toMatchObject({ kind });
    }
    await exit.add(` ${home} `);
    expect(row(exit).session.address).toBe(home);
  });

  test('a refusal to connect is told', async () => {
    refused = 'connect';
    expect((await opened()).state).toMatchObject({ connected: null, walletProblem: { kind: 'refused' } });
  });
});

describe('requesting the close', () => {
  test('sends exactly one request_close, whatever is clicked', async () => {
    node.onSend = () => node.put(home, SESSION_PROGRAM, account(CLOSING, 900n));
    const exit = await opened();
    const { session } = row(exit);
    await Promise.all([exit.requestClose(session), exit.requestClose(session)]);
    expect(node.sent).toHaveLength(1);
    const [instruction] = decodeTransaction(node.sent[0] ?? new Uint8Array())?.instructions ?? [];
    expect(instruction).toEqual({ program: SESSION_PROGRAM, accounts: [payer, home], data: Uint8Array.of(5) });
    expect(row(exit)).toMatchObject({ step: null, ending: { kind: 'requested' }, session: { status: 'closing' } });
  });

  test('does nothing when the wallet says no, and can be tried again', async () => {
    const exit = await opened();
    refused = 'transaction';
    await exit.requestClose(row(exit).session);
    expect(row(exit)).toMatchObject({ step: null, ending: { kind: 'refused' } });
    expect(node.sent).toEqual([]);
    refused = null;
    await exit.requestClose(row(exit).session);
    expect(row(exit).ending).toMatchObject({ kind: 'requested' });
  });

  test('is not asked of a wallet without SOL', async () => {
    node.put(payer, payer, new Uint8Array(), 1_000);
    const exit = await opened();
    await exit.requestClose(row(exit).session);
    expect(row(exit).ending).toEqual({ kind: 'no-sol', lamports: 4_000n });
    expect(endingText({ kind: 'no-sol', lamports: 4_000n }, row(exit).session)).toContain('0.000004 SOL');
  });

  test('sees that somebody was faster', async () => {
    const exit = await opened();
    node.put(home, SESSION_PROGRAM, account(CLOSING, 900n));
    await exit.requestClose(row(exit).session);
    expect(row(exit)).toMatchObject({ ending: { kind: 'changed' }, session: { status: 'closing' } });
  });

  test('a node that fails in between is told, and nothing is stuck', async () => {
    const exit = await opened();
    node.instead.getLatestBlockhash = () => new Response('', { status: 503 });
    await exit.requestClose(row(exit).session);
    expect(row(exit)).toMatchObject({ step: null, ending: { kind: 'unread', error: { kind: 'busy' } } });
  });
});

describe('withdrawing', () => {
  beforeEach(() => {
    node.put(home, SESSION_PROGRAM, account(CLOSING, 0n));
    node.onSend = () => void node.accounts.delete(home);
  });

  test('says what came back, as the program tells it', async () => {
    const ata = await tokenAccount();
    const event = [...fromHex('488c61d78d4e0470'), ...getAddressEncoder().encode(address(home)), ...new Uint8Array(8)];
    const data = getBase64Decoder().decode(Uint8Array.of(...event, ...getU64Encoder().encode(920_002n)));
    const logMessages = [`Program ${SESSION_PROGRAM} invoke [1]`, `Program data: ${data}`];
    node.instead.getTransaction = () => ({ result: { meta: { logMessages } } });
    const exit = await opened();
    const { session } = row(exit);
    await exit.withdraw(session);
    const [instruction, ...more] = decodeTransaction(node.sent[0] ?? new Uint8Array())?.instructions ?? [];
    expect(more).toEqual([]);
    expect(instruction?.accounts[3]).toBe(ata);
    const { ending } = row(exit);
    expect(ending).toMatchObject({ kind: 'returned', amount: 920_002n, proven: true });
    expect(ending && endingText(ending, session)).toBe('0.920002 USDC came back to your wallet.');
    await exit.withdraw(session);
    expect(node.sent).toHaveLength(1);
  });

  test('says what must have come back where the node does not show the transaction', async () => {
    await tokenAccount();
    const exit = await opened();
    await exit.withdraw(row(exit).session);
    expect(row(exit).ending).toMatchObject({ kind: 'returned', amount: 920_000n, proven: false });
  });

  test('makes a token account for a payer who has none any more', async () => {
    const exit = await opened();
    await exit.withdraw(row(exit).session);
    const instructions = decodeTransaction(node.sent[0] ?? new Uint8Array())?.instructions ?? [];
    expect(instructions.map(({ program }) => program)).toEqual([ATA_PROGRAM, SESSION_PROGRAM]);
  });

  test('stops before the wallet where every token account is frozen', async () => {
    await tokenAccount(2);
    const exit = await opened();
    await exit.withdraw(row(exit).session);
    expect(row(exit).ending).toEqual({ kind: 'frozen' });
    expect(node.sent).toEqual([]);
  });

  test('one second early is a sentence', async () => {
    await tokenAccount();
    const data = { err: { InstructionError: [0, { Custom: 6155 }] } };
    node.instead.sendTransaction = () => ({ error: { code: -32002, message: 'no', data } });
    const exit = await opened();
    await exit.withdraw(row(exit).session);
    const { ending, session } = row(exit);
    expect(ending && endingText(ending, session)).toContain('not reached yet');
  });

  test('a session that the provider closed meanwhile is told', async () => {
    const exit = await opened();
    node.accounts.delete(home);
    await exit.refresh();
    expect(row(exit).ending).toEqual({ kind: 'gone' });
  });

  test('a closed session gives back its rent only after its window', async () => {
    node.put(home, SESSION_PROGRAM, account(CLOSED));
    const { session } = row(await opened());
    expect(stageOf(session, { slot: session.openSlot, time: 0n })).toEqual({ kind: 'settled', slots: 1500n });
    expect(stageOf(session, { slot: session.openSlot + 1500n, time: 0n })).toEqual({ kind: 'settled', slots: 0n });
  });
});

test('only what waits is asked for again', async () => {
  const exit = await opened();
  node.asked.length = 0;
  await exit.refresh();
  expect(node.asked).toEqual([]);
  node.put(home, SESSION_PROGRAM, account(CLOSING, 900n));
  await exit.find();
  node.asked.length = 0;
  await exit.refresh();
  expect(node.asked).toEqual(['getAccountInfo', 'getAccountInfo']);
});

test('the countdown follows the chain, not this device', async () => {
  node.put(home, SESSION_PROGRAM, account(CLOSING, 900n));
  const exit = await opened();
  const stage = () => stageOf(row(exit).session, exit.now() ?? { slot: 0n, time: 0n });
  expect(stage()).toEqual({ kind: 'waiting', until: 1_800n, seconds: 800n });
  node.time = 1_800n;
  await exit.refresh();
  expect(stage()).toEqual({ kind: 'due' });
});

test.each([
  { kind: 'bad-url' },
  { kind: 'bad-address' },
  { kind: 'no-session' },
  { kind: 'other-payer' },
  { kind: 'refused' },
  { kind: 'wrong-network' },
  { kind: 'unsupported', feature: 'solana:signTransaction' },
  new ChainError('unsupported', 'x'),
  new ChainError('unreachable', 'x'),
  new ChainError('garbage', 'x'),
  new ChainError('busy', 'x'),
] as const)('$kind is a sentence that says what to do', (problem) => {
  expect(problemText(problem)).toMatch(/^[A-Z].{30,}\.$/);
});
