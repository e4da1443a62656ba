import { describe, expect, it } from 'vitest';
import type { Gid } from '../core/ids.ts';
import type { Status } from '../core/patterns.ts';
import { changeFeed, changesWaitingMax, type ChangeFeed } from './change-feed.ts';

function tell(feed: ChangeFeed, gid: string, status: Status): void {
  const change = { gid: gid as Gid, pattern: 'saga', name: 's', status, stuck: false, atMs: 1 } as const;
  feed.observe({ kind: 'transaction', ...change });
}

async function read(
  changes: AsyncIterable<{ readonly gid: string; readonly status: string }>,
): Promise<string[]> {
  const seen: string[] = [];
  try {
    for await (const { gid, status } of changes) seen.push(`${gid} ${status}`);
  } catch (error) {
    seen.push(String(error));
  }
  return seen;
}

describe('the changes of an embedded coordinator', () => {
  it('are those wanted, from the moment they are asked for', async () => {
    const feed = changeFeed();
    tell(feed, 'a', 'running');
    const one = feed.follow({ gid: 'a', status: ['committed', 'aborted'] }, undefined);
    for (const gid of ['a', 'b'])
      for (const status of ['running', 'committed'] as const) tell(feed, gid, status);
    feed.end('over');
    expect(await read(one)).toEqual([
      'a committed',
      expect.stringMatching(/unavailable: changes may have been missed: over/),
    ]);
  });

  it('end quietly when the signal aborts', async () => {
    const feed = changeFeed();
    const stop = new AbortController();
    const reading = read(feed.follow({}, stop.signal));
    tell(feed, 'a', 'running');
    setImmediate(() => stop.abort());
    expect(await reading).toEqual(['a running']);
  });

  it('are not held without limit for a slow reader, who is told', async () => {
    const feed = changeFeed();
    const slow = feed.follow({}, undefined);
    for (let i = 0; i < changesWaitingMax + 10; i++) tell(feed, `g${i}`, 'running');
    const seen = await read(slow);
    expect(seen).toHaveLength(changesWaitingMax + 1);
    expect(seen.at(-1)).toMatch(/too slow/);
  });
});
