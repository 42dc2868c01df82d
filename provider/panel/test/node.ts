/** A Solana node in memory: answers JSON-RPC as nodes do, and does what a test tells it. */

import {
  type Address,
  getBase58Decoder,
  getBase64Codec,
  getI64Encoder,
  getTransactionDecoder,
  getU64Encoder,
} from '@solana/kit';
import type { Timer } from '../src/chain/clock';
import { CLOCK_SYSVAR } from '../src/chain/programs';
import { Rpc } from '../src/chain/rpc';
import type { Account } from '../src/chain/session';
import { decodeTransaction } from '../src/chain/transactions';

export const URL = 'http://127.0.0.1:8899/';
type Params = readonly unknown[];

export class FakeNode {
  readonly accounts = new Map<string, Account>();
  readonly asked: string[] = [];
  readonly sent: Uint8Array[] = [];
  /** What happens to a transaction: it lands as final at once unless a test says otherwise. */
  status: unknown = { confirmationStatus: 'finalized', err: null };
  height = 10;
  time = 1_000n;
  slot = 5_000n;
  /** Answers that take the place of the usual ones, by method: results, or functions that make them or throw. */
  readonly instead: Record<string, (params: Params) => unknown> = {};
  onSend: () => void = () => {};

  readonly fetch: typeof fetch = async (_, init) => {
    const { method, params } = JSON.parse(String(init?.body)) as { method: string; params: Params };
    this.asked.push(method);
    const answer = (this.instead[method] ?? ((given) => ({ result: this.usual(method, given) })))(params);
    return answer instanceof Response ? answer : Response.json({ jsonrpc: '2.0', id: 1, ...(answer as object) });
  };

  rpc(): Rpc {
    return new Rpc(URL, this.fetch);
  }

  put(address: string, owner: string, data: Uint8Array, lamports = 1_000_000): void {
    this.accounts.set(address, { address: address as Address, owner: owner as Address, lamports, data });
  }

  private usual(method: string, params: Params): unknown {
    switch (method) {
      case 'getGenesisHash':
        return getBase58Decoder().decode(new Uint8Array(32).fill(7));
      case 'getBlockHeight':
        return this.height;
      case 'getLatestBlockhash':
        return {
          value: { blockhash: getBase58Decoder().decode(new Uint8Array(32).fill(5)), lastValidBlockHeight: 150 },
        };
      case 'getAccountInfo':
        return { value: this.told(String(params[0])) };
      case 'getProgramAccounts':
      case 'getTokenAccountsByOwner': {
        const size = method === 'getProgramAccounts' ? 352 : 165;
        const found = [...this.accounts.values()].filter(({ data }) => data.length === size);
        const list = found.map(({ address }) => ({ pubkey: address, account: this.told(address) }));
        return size === 352 ? list : { value: list };
      }
      case 'sendTransaction': {
        const bytes = new Uint8Array(getBase64Codec().encode(String(params[0])));
        if (!decodeTransaction(bytes)) throw new Error('a malformed transaction was sent');
        this.sent.push(bytes);
        this.onSend();
        return signatureOf(bytes);
      }
      case 'getSignatureStatuses':
        return { value: [this.status] };
      case 'getTransaction':
        return null;
      default:
        throw new Error(`nobody told this node about ${method}`);
    }
  }

  private told(address: string): unknown {
    if (address === CLOCK_SYSVAR) {
      const data = new Uint8Array(40);
      data.set(getU64Encoder().encode(this.slot));
      data.set(getI64Encoder().encode(this.time), 32);
      return { owner: 'Sysvar1111111111111111111111111111111111111', lamports: 1, data: [base64(data), 'base64'] };
    }
    const account = this.accounts.get(address);
    if (!account) return null;
    return { owner: account.owner, lamports: account.lamports, data: [base64(account.data), 'base64'] };
  }
}

/** Time that passes only while somebody sleeps. */
export function fakeTimer(onSleep: () => void = () => {}): Timer {
  let now = 0;
  return {
    now: () => now,
    sleep: async (milliseconds) => {
      now += milliseconds;
      onSleep();
    },
  };
}

function base64(data: Uint8Array): string {
  return getBase64Codec().decode(data);
}

function signatureOf(bytes: Uint8Array): string {
  const [first] = Object.values(getTransactionDecoder().decode(bytes).signatures);
  if (!first) throw new Error('an unsigned transaction was sent');
  return getBase58Decoder().decode(first);
}
