import { describe, expect, test } from 'vitest';
import { requestClose } from '../../src/chain/instructions';
import { land } from '../../src/chain/landing';
import { buildTransaction } from '../../src/chain/transactions';
import { localWallet } from '../../src/wallet/local';
import { signTransaction } from '../../src/wallet/signing';
import { connect } from '../../src/wallet/wallets';
import { address } from '@solana/kit';
import { FakeNode, fakeTimer } from '../node';
import { session } from '../vectors';

const payer = address(session.fields.payer);

async function signed(node: FakeNode) {
  const life = await node.rpc().latestBlockhash();
  const outcome = await connect(await localWallet(new Uint8Array(32).fill(1)));
  if (outcome.kind !== 'done') throw new Error(outcome.kind);
  const built = buildTransaction(payer, [requestClose({ address: payer, payer })], life);
  const done = await signTransaction(outcome.value, built, 'solana:localnet');
  if (done.kind !== 'done') throw new Error(done.kind);
  return { transaction: done.value, life };
}

async function landed(node: FakeNode, onSleep: () => void = () => {}) {
  const { transaction, life } = await signed(node);
  return land(node.rpc(), transaction, life, fakeTimer(onSleep));
}

describe('a transaction', () => {
  test('has landed once it is final, and not before', async () => {
    const node = new FakeNode();
    const waits: unknown[] = [
      null,
      { confirmationStatus: 'processed', err: null },
      { confirmationStatus: 'confirmed', err: null },
    ];
    node.status = waits.shift();
    const landing = await landed(node, () => {
      node.status = waits.shift() ?? { confirmationStatus: 'finalized', err: null };
    });
    expect(landing.kind).toBe('landed');
    expect(node.asked.filter((method) => method === 'getSignatureStatuses')).toHaveLength(4);
  });

  test('is sent again, unchanged, while the chain does not have it', async () => {
    const node = new FakeNode();
    node.status = null;
    let rounds = 0;
    const landing = await landed(node, () => {
      rounds += 1;
      if (rounds === 7) node.status = { confirmationStatus: 'finalized', err: null };
    });
    expect(landing.kind).toBe('landed');
    expect(node.sent).toHaveLength(3);
    expect(node.sent.every((bytes) => bytes.join() === node.sent[0]?.join())).toBe(true);
  });

  test('is expired only once the chain has passed its height without it', async () => {
    const node = new FakeNode();
    node.status = null;
    const landing = await landed(node, () => {
      node.height += 20;
    });
    expect(landing.kind).toBe('expired');
    expect(node.height).toBeGreaterThan(150);
  });

  test('is refused when the node will not take it', async () => {
    const node = new FakeNode();
    const data = { err: { InstructionError: [0, { Custom: 6005 }] } };
    node.instead.sendTransaction = () => ({ error: { code: -32002, message: 'no', data } });
    expect(await landed(node)).toMatchObject({ kind: 'refused', error: { kind: 'program', code: 6005 } });
  });

  test('has failed when the chain says so', async () => {
    const node = new FakeNode();
    node.status = { confirmationStatus: 'confirmed', err: { InstructionError: [0, { Custom: 6155 }] } };
    expect(await landed(node)).toMatchObject({ kind: 'failed', error: { code: 6155 } });
  });

  test('is unknown when the node stops answering, and found when it comes back', async () => {
    const node = new FakeNode();
    node.instead.getBlockHeight = () => new Response('', { status: 503 });
    expect((await landed(node)).kind).toBe('unknown');
    let rounds = 0;
    const landing = await landed(node, () => {
      rounds += 1;
      if (rounds === 5) delete node.instead.getBlockHeight;
    });
    expect(landing.kind).toBe('landed');
  });
});
