import { address } from '@solana/kit';
import { describe, expect, test } from 'vitest';
import { chainTime } from '../../src/chain/clock';
import { customCode, parseRpcUrl, Rpc } from '../../src/chain/rpc';
import { FakeNode, URL } from '../node';
import { session } from '../vectors';

const payer = address(session.fields.payer);

function answering(answer: () => Response | Promise<Response>): Rpc {
  return new Rpc(URL, async () => answer());
}

function told(result: unknown): Rpc {
  return answering(() => Response.json({ jsonrpc: '2.0', id: 1, result }));
}

function refusing(error: unknown): Rpc {
  return answering(() => Response.json({ jsonrpc: '2.0', id: 1, error }));
}

describe('what is no answer of a node', () => {
  test.each([
    ['nobody listens', answering(() => Promise.reject(new TypeError('Failed to fetch'))), 'unreachable'],
    ['a page', answering(() => new Response('<!doctype html><p>Hello')), 'garbage'],
    ['nothing', answering(() => new Response('')), 'garbage'],
    ['JSON that is no object', answering(() => Response.json([1])), 'garbage'],
    ['an object without a result', answering(() => Response.json({ hello: 1 })), 'garbage'],
    ['a server that fails', answering(() => new Response('oops', { status: 500 })), 'garbage'],
    ['a server that is busy', answering(() => new Response('', { status: 429 })), 'busy'],
    ['a node that limits', refusing({ code: -32005, message: 'slow down' }), 'busy'],
    ['a node without the method', refusing({ code: -32601, message: 'Method not found' }), 'unsupported'],
    [
      'a node without an index',
      refusing({ code: -32010, message: 'excluded from account secondary indexes' }),
      'unsupported',
    ],
    ['any other refusal', refusing({ code: -32602, message: 'Invalid param' }), 'refused'],
    ['a refusal without words', refusing({}), 'refused'],
    ['no hash', told('not base58 0OIl'), 'garbage'],
    ['a number', told(5), 'garbage'],
  ])('%s', async (_, rpc, kind) => {
    await expect(rpc.genesisHash()).rejects.toMatchObject({ name: 'ChainError', kind });
  });

  test('is refused by every method', async () => {
    for (const result of [null, 5, 'x', [], [null], {}, { value: 5 }, { value: [5] }, { value: {} }]) {
      const rpc = told(result);
      await expect(rpc.latestBlockhash()).rejects.toMatchObject({ kind: 'garbage' });
      await expect(rpc.send(new Uint8Array(3))).rejects.toMatchObject({ kind: 'garbage' });
      await expect(rpc.signatureStatus('x')).rejects.toMatchObject({ kind: 'garbage' });
      await expect(rpc.account(payer)).rejects.toMatchObject({ kind: 'garbage' });
      if (result !== 5) await expect(rpc.blockHeight()).rejects.toMatchObject({ kind: 'garbage' });
    }
    for (const account of [
      null,
      {},
      { owner: payer, lamports: -1, data: ['', 'base64'] },
      { owner: 'x', lamports: 1 },
    ]) {
      await expect(told([{ pubkey: payer, account }]).programAccounts(payer, 1, 0, payer)).rejects.toMatchObject({
        kind: 'garbage',
      });
      await expect(told({ value: [{ pubkey: 'x', account }] }).tokenAccounts(payer, payer)).rejects.toMatchObject({
        kind: 'garbage',
      });
    }
  });
});

test('a program error comes with its number', async () => {
  const data = { err: { InstructionError: [0, { Custom: 6155 }] } };
  const rpc = refusing({ code: -32002, message: 'Transaction simulation failed', data });
  await expect(rpc.send(new Uint8Array(3))).rejects.toMatchObject({ kind: 'program', code: 6155 });
  expect(customCode('BlockhashNotFound')).toBeUndefined();
  expect(customCode({ InstructionError: [0, 'InvalidAccountData'] })).toBeUndefined();
});

test('no account is null, and one is read', async () => {
  const node = new FakeNode();
  expect(await node.rpc().account(payer)).toBeNull();
  node.put(payer, payer, Uint8Array.of(1, 2), 7);
  const account = { address: payer, owner: payer, lamports: 7, data: Uint8Array.of(1, 2) };
  expect(await node.rpc().account(payer)).toEqual(account);
});

test('the clock is that of the chain', async () => {
  const node = new FakeNode();
  expect(await chainTime(node.rpc())).toEqual({ slot: 5_000n, time: 1_000n });
  node.instead.getAccountInfo = () => ({ result: { value: null } });
  await expect(chainTime(node.rpc())).rejects.toMatchObject({ kind: 'garbage' });
});

test('logs are lines, and null where the node has no such transaction', async () => {
  expect(await told({ meta: { logMessages: ['a', 5, 'b'] } }).logs('x')).toEqual(['a', 'b']);
  for (const result of [null, {}, { meta: null }, { meta: { logMessages: 'a' } }])
    expect(await told(result).logs('x')).toBeNull();
});

test('a node is asked over https, or on this machine', () => {
  expect(parseRpcUrl(' https://node.example/key?x=1 ')).toBe('https://node.example/key?x=1');
  expect(parseRpcUrl('http://localhost:8899')).toBe(`http://localhost:8899/`);
  expect(parseRpcUrl('http://127.0.0.1:1')).toBe('http://127.0.0.1:1/');
  for (const bad of [
    '',
    'node.example',
    'http://node.example',
    'http://localhost.evil.example',
    'javascript:alert(1)',
    'file:///x',
    'ws://localhost',
  ]) {
    expect(parseRpcUrl(bad)).toBeNull();
  }
});
