/** JSON-RPC to any Solana node, by fetch. Every answer is checked here; what is not one becomes a ChainError. */

import { type Address, getBase58Encoder, getBase64Codec, isAddress } from '@solana/kit';
import { ChainError } from './errors';
import type { Account } from './session';

export type Commitment = 'confirmed' | 'finalized';
type Json = Record<string, unknown>;

/** A signature as a node knows it; `error` is null when the transaction succeeded. */
export interface SignatureStatus {
  readonly commitment: 'processed' | Commitment;
  readonly error: unknown;
}

/** A recent blockhash, and the block height after which a transaction with it is dead. */
export interface Lifetime {
  readonly blockhash: string;
  readonly lastValidBlockHeight: bigint;
}

// A node's error numbers: method not found, node is behind, too many requests, and a method that it was built without.
const NOT_FOUND = -32601;
const UNSUPPORTED = [NOT_FOUND, -32010];
const BUSY = [-32005, 429];
const TIMEOUT_MS = 20_000;
const base64 = getBase64Codec();
const base58 = getBase58Encoder();

/** Signature and blockhash are 64 and 32 bytes of base58. */
function isBase58(text: unknown, length: number): text is string {
  if (typeof text !== 'string' || text.length > 100) return false;
  try {
    return base58.encode(text).length === length;
  } catch {
    return false;
  }
}

export class Rpc {
  constructor(
    readonly url: string,
    private readonly ask: typeof fetch = (...request) => fetch(...request),
  ) {}

  /** The hash that tells one cluster from another. */
  async genesisHash(): Promise<string> {
    return this.expect(await this.call('getGenesisHash'), (result) => (isBase58(result, 32) ? result : null));
  }

  /** The account, or null where none is. */
  async account(address: Address, commitment: Commitment = 'confirmed'): Promise<Account | null> {
    const result = object(await this.call('getAccountInfo', [address, { encoding: 'base64', commitment }]));
    if (result?.value === null) return null;
    return this.expect(result?.value, (value) => account(address, value));
  }

  /** Accounts of a program with `bytes` at `offset`; what the node says of them is for the caller to check. */
  async programAccounts(program: Address, size: number, offset: number, bytes: Address): Promise<Account[]> {
    const filters = [{ dataSize: size }, { memcmp: { offset, bytes } }];
    const config = { encoding: 'base64', commitment: 'confirmed', filters };
    return this.accounts(await this.call('getProgramAccounts', [program, config]));
  }

  /** Token accounts of `owner` for `mint`. */
  async tokenAccounts(owner: Address, mint: Address): Promise<Account[]> {
    const config = { encoding: 'base64', commitment: 'confirmed' };
    const result = object(await this.call('getTokenAccountsByOwner', [owner, { mint }, config]));
    return this.accounts(result?.value);
  }

  async latestBlockhash(): Promise<Lifetime> {
    const result = object(await this.call('getLatestBlockhash', [{ commitment: 'confirmed' }]));
    return this.expect(object(result?.value), ({ blockhash, lastValidBlockHeight: height }) =>
      isBase58(blockhash, 32) && isCount(height) ? { blockhash, lastValidBlockHeight: BigInt(height) } : null,
    );
  }

  async blockHeight(): Promise<bigint> {
    const result = await this.call('getBlockHeight', [{ commitment: 'confirmed' }]);
    return this.expect(result, (height) => (isCount(height) ? BigInt(height) : null));
  }

  /** Its signature. ChainError `program` with the error's number when the node's simulation refuses it. */
  async send(transaction: Uint8Array): Promise<string> {
    const config = { encoding: 'base64', preflightCommitment: 'confirmed', maxRetries: 0 };
    const result = await this.call('sendTransaction', [base64.decode(transaction), config]);
    return this.expect(result, (signature) => (isBase58(signature, 64) ? signature : null));
  }

  /** What the node knows of a signature, its history included; null for nothing. */
  async signatureStatus(signature: string): Promise<SignatureStatus | null> {
    const result = object(await this.call('getSignatureStatuses', [[signature], { searchTransactionHistory: true }]));
    const values = result?.value;
    if (Array.isArray(values) && values.length === 1 && values[0] === null) return null;
    return this.expect(object(Array.isArray(values) ? values[0] : null), ({ confirmationStatus: reached, err }) =>
      reached === 'processed' || reached === 'confirmed' || reached === 'finalized'
        ? { commitment: reached, error: err ?? null }
        : null,
    );
  }

  /** What programs logged in a confirmed transaction; null when the node does not know it (yet). */
  async logs(signature: string): Promise<string[] | null> {
    const config = { encoding: 'json', commitment: 'confirmed', maxSupportedTransactionVersion: 0 };
    const result = await this.call('getTransaction', [signature, config]);
    const logs = object(object(result)?.meta)?.logMessages;
    return Array.isArray(logs) ? logs.filter((line) => typeof line === 'string') : null;
  }

  private accounts(result: unknown): Account[] {
    if (!Array.isArray(result)) throw new ChainError('garbage', `${this.url} did not answer with a list of accounts`);
    return result.map((entry) =>
      this.expect(object(entry), ({ pubkey, account: value }) =>
        typeof pubkey === 'string' && isAddress(pubkey) ? account(pubkey, value) : null,
      ),
    );
  }

  private expect<In, Out>(value: In, read: (value: NonNullable<In>) => Out | null): Out {
    const out = value === null || value === undefined ? null : read(value);
    if (out === null) throw new ChainError('garbage', `${this.url} did not answer as a Solana node does`);
    return out;
  }

  private async call(method: string, params: unknown[] = []): Promise<unknown> {
    const answer = await this.post(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));
    const error = object(answer.error);
    if (error) throw refusal(this.url, method, error);
    if (!('result' in answer)) throw new ChainError('garbage', `${this.url} did not answer as a Solana node does`);
    return answer.result;
  }

  private async post(body: string): Promise<Json> {
    let response: Response;
    try {
      const headers = { 'Content-Type': 'application/json' };
      response = await this.ask(this.url, {
        ...{ method: 'POST', headers, body, credentials: 'omit', referrerPolicy: 'no-referrer' },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      throw new ChainError('unreachable', `${this.url} did not answer: ${String(error)}`);
    }
    if (response.status === 429 || response.status === 503) throw new ChainError('busy', `${this.url} is busy`);
    const answer = object(await response.json().catch(() => null));
    if (!answer) throw new ChainError('garbage', `${this.url} answered ${response.status}, and not in JSON`);
    return answer;
  }
}

/** What an address bar would take as a node: https, or http on this machine only, where nobody can listen in between. */
export function parseRpcUrl(text: string): string | null {
  let url: URL;
  try {
    url = new URL(text.trim());
  } catch {
    return null;
  }
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url)) ? url.href : null;
}

/** Whether a node runs on this machine. */
export function isLoopback(url: URL): boolean {
  return ['localhost', '127.0.0.1'].includes(url.hostname);
}

/** The number of the program's error in a transaction error, as in `{"InstructionError":[0,{"Custom":6155}]}`. */
export function customCode(error: unknown): number | undefined {
  const failed = object(error)?.InstructionError;
  const code = Array.isArray(failed) ? object(failed[1])?.Custom : undefined;
  return typeof code === 'number' ? code : undefined;
}

function refusal(url: string, method: string, error: Json): ChainError {
  const code = typeof error.code === 'number' ? error.code : 0;
  const words = typeof error.message === 'string' ? error.message.slice(0, 300) : 'no reason given';
  const failed = customCode(object(error.data)?.err);
  if (failed !== undefined) return new ChainError('program', words, failed);
  if (BUSY.includes(code)) return new ChainError('busy', `${url} is busy: ${words}`);
  if (UNSUPPORTED.includes(code)) return new ChainError('unsupported', `${url} does not offer ${method}: ${words}`);
  return new ChainError('refused', words);
}

function account(address: Address, value: unknown): Account | null {
  const { owner, lamports, data } = object(value) ?? {};
  if (typeof owner !== 'string' || !isAddress(owner) || !isCount(lamports)) return null;
  if (!Array.isArray(data) || typeof data[0] !== 'string' || data[1] !== 'base64') return null;
  try {
    return { address, owner, lamports, data: new Uint8Array(base64.encode(data[0])) };
  } catch {
    return null;
  }
}

function object(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}
