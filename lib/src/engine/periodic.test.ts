import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { periodic, type Periodic } from './periodic.ts';

/** A task that counts its runs and ends each when told. */
function counted(clock: VirtualClock): {
  readonly periodic: Periodic;
  runs(): number;
  end(how?: 'again' | 'later'): Promise<void>;
} {
  let count = 0;
  let finish: ((how: 'again' | 'later') => void) | undefined;
  const made = periodic(clock, 1_000, () => {
    count++;
    return new Promise((resolve) => (finish = resolve));
  });
  return {
    periodic: made,
    runs: () => count,
    async end(how = 'later') {
      finish?.(how);
      await clock.advance(0);
    },
  };
}

describe('something done again and again', () => {
  it('starts at once, and again one interval after it ended', async () => {
    const clock = new VirtualClock();
    const task = counted(clock);
    expect(task.runs()).toBe(1);
    await clock.advance(5_000);
    expect(task.runs()).toBe(1);
    await task.end();
    await clock.advance(999);
    expect(task.runs()).toBe(1);
    await clock.advance(1);
    expect(task.runs()).toBe(2);
  });

  it('goes on at once when there is more to do', async () => {
    const task = counted(new VirtualClock());
    await task.end('again');
    expect(task.runs()).toBe(2);
  });

  it('does it now when nudged while it waits', async () => {
    const clock = new VirtualClock();
    const task = counted(clock);
    await task.end();
    task.periodic.nudge();
    expect(task.runs()).toBe(2);
    expect(clock.pending).toBe(0);
  });

  it('never runs twice at once: nudged meanwhile, it runs right after', async () => {
    const task = counted(new VirtualClock());
    task.periodic.nudge();
    task.periodic.nudge();
    expect(task.runs()).toBe(1);
    await task.end();
    expect(task.runs()).toBe(2);
  });

  it('ends its stop only when what is under way has ended, and starts nothing after it', async () => {
    const clock = new VirtualClock();
    const task = counted(clock);
    let stopped = false;
    void task.periodic.stop().then(() => (stopped = true));
    task.periodic.nudge();
    await clock.advance(5_000);
    expect(stopped).toBe(false);
    await task.end('again');
    expect(stopped).toBe(true);
    await clock.advance(5_000);
    expect([task.runs(), clock.pending]).toEqual([1, 0]);
  });
});
