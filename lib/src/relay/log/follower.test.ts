import { beforeEach, describe, expect, it } from 'vitest';
import { Follower, looksMax, unseenMax } from './follower.ts';

let visible: Set<string>;
let looks: (() => void)[];
let givenUp: unknown[];
let stop: AbortController;
let follower: Follower<number, string>;

beforeEach(() => {
  visible = new Set();
  looks = [];
  givenUp = [];
  stop = new AbortController();
  follower = new Follower<number, string>({
    wake: () => new Promise((resolve) => looks.push(resolve)),
    signal: stop.signal,
    visible: () => Promise.resolve((commit) => visible.has(commit)),
    lookMs: 20,
    giveUp: (error) => givenUp.push(error),
  });
});

describe('what follows a log', () => {
  it('wakes nobody before the commit is visible, and acknowledges it after the look', async () => {
    follower.committed(1, 'a');
    await turns();
    expect(looks).toHaveLength(0);
    visible.add('a');
    await expect.poll(() => looks.length).toBe(1);
    expect(follower.acknowledged).toBeUndefined();
    looks[0]?.();
    await turns();
    expect(follower.acknowledged).toBe(1);
  });

  it('wakes for the one that is visible while an earlier one is not, and acknowledges neither', async () => {
    follower.committed(1, 'slow');
    follower.committed(2, 'quick');
    visible.add('quick');
    await expect.poll(() => looks.length).toBe(1);
    looks[0]?.();
    await turns();
    expect(follower.acknowledged).toBeUndefined();
    visible.add('slow');
    await expect.poll(() => looks.length).toBe(2);
    looks[1]?.();
    await turns();
    expect(follower.acknowledged).toBe(2);
  });

  it('wakes once for all that have become visible together', async () => {
    for (let n = 1; n <= 1_000; n++) {
      visible.add(`c${n}`);
      follower.committed(n, `c${n}`);
    }
    await turns();
    expect(looks).toHaveLength(1);
    looks[0]?.();
    await turns();
    expect(follower.acknowledged).toBe(1_000);
  });

  it('goes on with a new commit after all before were handled', async () => {
    for (const commit of ['a', 'b', 'c']) {
      visible.add(commit);
      follower.committed(commit.charCodeAt(0), commit);
      await turns();
      looks.at(-1)?.();
      await turns();
    }
    expect(looks).toHaveLength(3);
    expect(follower.acknowledged).toBe('c'.charCodeAt(0));
  });

  it('gives up when more commits are not visible than it may hold', () => {
    for (let n = 0; n <= unseenMax; n++) follower.committed(n, 'x');
    stop.abort();
    expect(String(givenUp[0])).toContain('100000 commits of the log are not visible yet');
  });

  it('has no more looks under way than it may, and goes on as they end', async () => {
    for (let n = 1; n <= looksMax + 5; n++) {
      visible.add(`c${n}`);
      follower.committed(n, `c${n}`);
      await turns();
    }
    expect(looks).toHaveLength(looksMax);
    looks.splice(0).forEach((end) => end());
    await turns();
    // Those that waited are looked for together.
    expect(looks).toHaveLength(1);
    looks[0]?.();
    await turns();
    expect(follower.acknowledged).toBe(looksMax + 5);
  });

  it('gives up a relay that does not come to look', async () => {
    visible.add('a');
    follower.committed(1, 'a');
    await expect
      .poll(() => givenUp.map(String))
      .toEqual(['Error: the relay does not come to look: 20 ms since it was woken']);
    expect(follower.acknowledged).toBeUndefined();
  });

  it('gives up when it cannot ask', async () => {
    const failing = new Follower<number, string>({
      wake: () => Promise.resolve(),
      signal: stop.signal,
      visible: () => Promise.reject(new Error('no answer')),
      lookMs: 20,
      giveUp: (error) => givenUp.push(error),
    });
    failing.committed(1, 'a');
    await turns();
    expect(givenUp.map(String)).toEqual(['Error: no answer']);
  });
});

async function turns(): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => void setImmediate(resolve));
}
