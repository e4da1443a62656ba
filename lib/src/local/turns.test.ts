import { describe, expect, test } from 'vitest';
import { thrownBy } from '../../../test/local/world.ts';
import { Turns, waitingMax } from './turns.ts';

describe('turns', () => {
  test('are had by one at a time, in the order they were asked for', async () => {
    const turns = new Turns();
    const order: number[] = [];
    await turns.take();
    const others = [1, 2, 3].map((n) => turns.take().then(() => order.push(n)));
    for (const other of others) {
      expect(turns.tryTake()).toBe(false);
      turns.give();
      await other;
    }
    expect([order, turns.taken]).toEqual([[1, 2, 3], true]);
    turns.give();
    expect([turns.taken, turns.tryTake(), turns.taken]).toEqual([false, true, true]);
  });

  test('go to who waits, and not to who comes in between', async () => {
    const turns = new Turns();
    turns.tryTake();
    const waiting = turns.take();
    turns.give();
    expect(turns.tryTake()).toBe(false);
    await waiting;
  });

  test('are waited for by a limited number', async () => {
    const turns = new Turns();
    turns.tryTake();
    const waiting = Array.from({ length: waitingMax }, () => turns.take());
    expect((await thrownBy(turns.take())).code).toBe('limit_exceeded');
    for (const one of waiting) {
      turns.give();
      await one;
    }
    turns.give();
    expect(turns.taken).toBe(false);
  });
});
