import { SettleError, messageOf } from '../util/errors.ts';
import { isJsonObject } from '../util/json.ts';
import { fromProblem } from '../wire/problem.ts';
import type { TransactionChange } from '../wire/transaction.ts';

export interface FollowOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly fetch: typeof globalThis.fetch;
  readonly signal: AbortSignal | undefined;
}

/** One event is far below it; more without an end is no stream of ours. */
const eventCharactersMax = 65_536;

/** The coordinator's server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export async function* followEvents(options: FollowOptions): AsyncGenerator<TransactionChange> {
  const { signal } = options;
  const closed = new AbortController();
  const both = signal === undefined ? closed.signal : AbortSignal.any([signal, closed.signal]);
  try {
    for await (const { name, data } of parseEvents(await open(options, both))) {
      if (name === 'dropped') throw missed('this reader was too slow');
      if (name === 'closing') throw missed('the coordinator shuts down');
      const change = name === 'transaction' ? asChange(data) : undefined;
      if (change !== undefined) yield change;
    }
    throw missed('the stream ended');
  } catch (error) {
    if (signal?.aborted === true) return;
    throw error;
  } finally {
    // Whoever leaves the loop lets go of the connection.
    closed.abort();
  }
}

async function open(
  { url, headers, fetch }: FollowOptions,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { ...headers, accept: 'text/event-stream' },
      redirect: 'manual',
      signal,
    });
  } catch (error) {
    throw missed(`no answer: ${messageOf(error)}`, error);
  }
  if (!response.ok || response.body === null) {
    const body: unknown = await response.json().catch(() => undefined);
    throw fromProblem(response.status, body, response.headers.get('retry-after') ?? undefined);
  }
  return response.body;
}

interface ServerSentEvent {
  readonly name: string;
  readonly data: string;
}

export async function* parseEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let name = 'message';
  let data: string[] = [];
  try {
    for await (const chunk of chunks) {
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? '';
      if (rest.length + data.length > eventCharactersMax) throw missed('an event without an end');
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { name, data: data.join('\n') };
          name = 'message';
          data = [];
        } else if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
      }
    }
  } catch (error) {
    throw missed(`the stream broke: ${messageOf(error)}`, error);
  }
}

function asChange(data: string): TransactionChange | undefined {
  const value: unknown = JSON.parse(data);
  const is = isJsonObject(value) && typeof value['gid'] === 'string' && typeof value['status'] === 'string';
  return is ? (value as unknown as TransactionChange) : undefined;
}

function missed(why: string, cause?: unknown): SettleError {
  return new SettleError('unavailable', `changes may have been missed: ${why}`, {
    cause,
    next: 'List what you need to know, then follow again',
  });
}
