/** The activity of a session as server-sent events, read by fetch, since EventSource cannot send the token. */

import { type Api, ApiError } from './client';

/** One event; `id` says how far the stream is. */
export interface StreamEvent {
  readonly id: string | null;
  readonly event: string;
  readonly data: unknown;
}

const PAUSES_MS = [500, 1_000, 2_000, 5_000, 10_000];

/** An event as it stands in a stream. */
export interface Block {
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

/** Takes a stream apart as its pieces arrive; what has no data is left out. */
export class BlockParser {
  private rest = '';

  push(piece: string): Block[] {
    const blocks = (this.rest + piece).replaceAll('\r\n', '\n').split('\n\n');
    this.rest = blocks.pop() ?? '';
    return blocks.flatMap((block) => parseBlock(block) ?? []);
  }
}

/** The same of events whose data is JSON; others are left out. */
export class EventParser {
  private readonly blocks = new BlockParser();

  push(piece: string): StreamEvent[] {
    return this.blocks.push(piece).flatMap((block) => jsonOf(block) ?? []);
  }
}

function jsonOf({ id, event, data }: Block): StreamEvent | null {
  try {
    return { id, event, data: JSON.parse(data) };
  } catch {
    return null;
  }
}

function parseBlock(block: string): Block | null {
  let id: string | null = null;
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    const [, name, value = ''] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name === 'id') id = value;
    else if (name === 'event') event = value;
    else if (name === 'data') data.push(value);
  }
  return data.length === 0 ? null : { id, event, data: data.join('\n') };
}

export interface Listener {
  readonly heard: (event: StreamEvent) => void;
  /** Called as the connection comes and goes. */
  readonly connected: (now: boolean) => void;
  /** The token is not valid (any more); nothing follows. */
  readonly refused: () => void;
}

/** Listens until the returned function is called, coming back after each break with the last id that was seen. */
export function listen(api: Api, token: string, listener: Listener): () => void {
  const stop = new AbortController();
  void follow(api, token, listener, stop.signal);
  return () => stop.abort();
}

async function follow(api: Api, token: string, listener: Listener, signal: AbortSignal): Promise<void> {
  let last: string | null = null;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const headers = { Accept: 'text/event-stream', ...(last && { 'Last-Event-ID': last }) };
      const { body } = await api.open('/events', { token, headers, signal });
      listener.connected(true);
      failures = 0;
      for await (const block of blocksOf(body)) {
        if (signal.aborted) return;
        const event = jsonOf(block);
        if (!event) continue;
        last = event.id ?? last;
        listener.heard(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 401) return listener.refused();
    }
    listener.connected(false);
    await pause(PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)] ?? 0, signal);
  }
}

/** The events of a body, as they come. */
export async function* blocksOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Block> {
  if (!body) return;
  const parser = new BlockParser();
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield* parser.push(next.value);
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
