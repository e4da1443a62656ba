import { expect, it } from 'vitest';
import { createKills, planKills } from './kills.ts';
import { roles } from './settings.ts';

it('each role is killed, in a short run once and in a long one four times, and never at its very end', () => {
  for (const [orders, times] of [
    [20, 1],
    [300, 3],
    [5_000, 4],
  ] as const) {
    const plan = planKills(7, orders);
    for (const role of roles) expect(plan.filter((kill) => kill.role === role)).toHaveLength(times);
    for (const { afterOrders } of plan) {
      expect(afterOrders).toBeGreaterThan(0);
      expect(afterOrders).toBeLessThanOrEqual(orders * 0.9);
    }
  }
});

it('the same seed plans the same kills, and another one others', () => {
  expect(planKills(7, 500)).toEqual(planKills(7, 500));
  expect(planKills(8, 500)).not.toEqual(planKills(7, 500));
});

it('a kill is due once: the writer by what is written, the others by what took effect', () => {
  const kills = createKills(7, 500);
  const due = (written: number, effects: number) => kills.due({ written, effects }).map(({ role }) => role);
  expect(due(0, 0)).toEqual([]);
  expect(due(500, 0)).toEqual(['writer', 'writer', 'writer', 'writer']);
  expect(due(500, 450).toSorted()).toEqual([...Array(4).fill('consumer'), ...Array(4).fill('relay')]);
  expect(due(500, 500)).toEqual([]);
});

it('without an end somebody is killed every eighty orders', () => {
  const kills = createKills(7, undefined);
  expect(kills.due({ written: 79, effects: 79 })).toEqual([]);
  expect(kills.due({ written: 90, effects: 85 })).toHaveLength(1);
  expect(kills.due({ written: 170, effects: 164 })).toEqual([]);
  expect(kills.due({ written: 170, effects: 165 })).toHaveLength(1);
});
