import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { gid } from '../testing/engine-world.ts';
import type { TransactionChange } from '../wire/transaction.ts';
import { createEventHub, type EventHub } from './events.ts';

const change = (name: string, status: TransactionChange['status'] = 'running'): TransactionChange => ({
  kind: 'transaction',
  gid: gid(name),
  pattern: 'saga',
  name: 'n',
  status,
  stuck: false,
  atMs: 1,
});

/** A subscription whose greeting has been read. */
async function subscribed(
  hub: EventHub,
  ...args: Parameters<EventHub['subscribe']>
): Promise<AsyncIterator<string>> {
  const chunks = hub.subscribe(...args)[Symbol.asyncIterator]();
  expect(await chunks.next()).toEqual({ done: false, value: 'retry: 2000\n: settle\n\n' });
  return chunks;
}

/** The names and gids or reasons of all events up to the end. */
async function rest(chunks: AsyncIterator<string>): Promise<readonly string[]> {
  let text = '';
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) text += next.value;
  return text
    .split('\n\n')
    .filter(Boolean)
    .map((frame) => {
      const [, name = '', data = '{}'] = /^event: (.*)\ndata: (.*)$/.exec(frame) ?? [];
      const { gid: which, reason } = JSON.parse(data) as { gid?: string; reason?: string };
      return `${name} ${which ?? reason}`;
    });
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('the event hub', () => {
  it('gives every subscriber what it asked for, in order', async () => {
    const hub = createEventHub();
    const everything = await subscribed(hub, {});
    const ofOne = await subscribed(hub, { gid: 'a' });
    const ended = await subscribed(hub, { status: ['committed', 'aborted'] });
    for (const event of [change('a'), change('b'), change('a', 'committed'), change('b', 'aborted')])
      hub.observe(event);
    hub.observe({ kind: 'commit' });
    hub.close();
    const closing = 'closing the coordinator is stopping; connect again';
    const a = 'transaction a';
    const b = 'transaction b';
    expect(await rest(everything)).toEqual([a, b, a, b, closing]);
    expect(await rest(ofOne)).toEqual([a, a, closing]);
    expect(await rest(ended)).toEqual([a, b, closing]);
  });

  it('wakes a reader that waits', async () => {
    const hub = createEventHub();
    const chunks = await subscribed(hub, {});
    const next = chunks.next();
    hub.observe(change('a'));
    expect((await next).value).toContain('"gid":"a"');
  });

  it('tells a reader that is too slow so, and drops it, without touching the others', async () => {
    const hub = createEventHub({ waitingMax: 3 });
    const slow = await subscribed(hub, {});
    const quick = await subscribed(hub, {});
    for (let at = 0; at < 10; at++) {
      const read = quick.next();
      hub.observe(change(`t${at}`));
      expect((await read).value).toContain(`t${at}`);
    }
    expect(hub.subscribers).toBe(1);
    expect(await rest(slow)).toEqual([
      'dropped read too slowly; 4 changes were not sent; connect again and list',
    ]);
  });

  it('refuses one subscriber too many, and takes it once another has gone', async () => {
    const hub = createEventHub({ subscribersMax: 2 });
    const first = await subscribed(hub, {});
    await subscribed(hub, {});
    expect(() => hub.subscribe({})).toThrow(/^overloaded/);
    await first.return?.();
    expect(hub.subscribers).toBe(1);
    expect(() => hub.subscribe({})).not.toThrow();
  });

  it('forgets a subscriber whose request is aborted, also while it waits or before it read', async () => {
    const hub = createEventHub();
    const gone = new AbortController();
    const chunks = await subscribed(hub, {}, gone.signal);
    hub.subscribe({}, AbortSignal.abort());
    expect(hub.subscribers).toBe(1);
    const waiting = chunks.next();
    gone.abort();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(hub.subscribers).toBe(0);
    hub.observe(change('a'));
    expect(await chunks.next()).toEqual({ done: true, value: undefined });
  });

  it('beats while it is quiet, and stops its timer with the last subscriber', async () => {
    const hub = createEventHub({ heartbeatMs: 1_000 });
    expect(vi.getTimerCount()).toBe(0);
    const chunks = await subscribed(hub, {});
    vi.advanceTimersByTime(1_000);
    expect((await chunks.next()).value).toBe(': settle\n\n');
    // A reader that does not read collects no heartbeats.
    vi.advanceTimersByTime(10_000);
    expect((await chunks.next()).value).toBe(': settle\n\n');
    await chunks.return?.();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('takes nobody after it was closed', () => {
    const hub = createEventHub();
    hub.close();
    expect(() => hub.subscribe({})).toThrow(/^shutting_down/);
  });
});
