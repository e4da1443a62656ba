import { describe, expect, it } from 'vitest';
import { createChaos, plan, type Victim } from './chaos.ts';
import { createDice } from './dice.ts';

describe('the plan of kills', () => {
  it.each([1, 7, 120, 2_000])(
    'of %i orders kills each service once and the coordinator four times',
    (orders) => {
      const planned = plan({ services: true, coordinator: true }, orders, createDice(7, 'x'));
      const victims = [...planned.values()].flat().map(nameOf).toSorted();
      expect(victims).toEqual([
        'coordinator',
        'coordinator',
        'coordinator',
        'coordinator',
        'orders',
        'stock',
        'wallet',
      ]);
      expect(Math.min(...planned.keys())).toBeGreaterThanOrEqual(1);
      expect(Math.max(...planned.keys())).toBeLessThanOrEqual(orders);
    },
  );

  it('cuts the connections twice of each service whose database is on a server', () => {
    const what = { services: false, coordinator: false, connections: ['orders', 'wallet'] } as const;
    const planned = plan(what, 100, createDice(7, 'x'));
    expect([...planned.values()].flat().map(nameOf).toSorted()).toEqual([
      'orders connections',
      'orders connections',
      'wallet connections',
      'wallet connections',
    ]);
  });

  it('kills nobody who was not asked for', () => {
    expect(plan({ services: false, coordinator: false }, 100, createDice(7, 'x')).size).toBe(0);
  });
});

describe('the kills themselves', () => {
  it('come one after the other, and `settled` waits for the last', async () => {
    const log: string[] = [];
    const kill = async (victim: Victim): Promise<void> => {
      log.push(`${nameOf(victim)} dies`);
      await Promise.resolve();
      log.push(`${nameOf(victim)} is back`);
    };
    const chaos = createChaos({ seed: 7, orders: 3, services: true, coordinator: false, kill });
    for (let sequence = 1; sequence <= 3; sequence++) chaos.before(sequence);
    await chaos.settled();
    expect(log).toHaveLength(6);
    log.forEach((entry, at) => expect(entry.endsWith(at % 2 === 0 ? 'dies' : 'is back')).toBe(true));
  });

  it('go on without end in an endless run', async () => {
    const victims: string[] = [];
    const kill = async (victim: Victim): Promise<void> => void victims.push(nameOf(victim));
    const chaos = createChaos({ seed: 7, orders: undefined, services: true, coordinator: true, kill });
    for (let sequence = 1; sequence <= 20_000; sequence++) chaos.before(sequence);
    await chaos.settled();
    expect(new Set(victims)).toEqual(new Set(['orders', 'stock', 'wallet', 'coordinator']));
  });

  it('tell `settled` when a victim does not come back', async () => {
    const chaos = createChaos({ seed: 7, orders: 1, services: true, coordinator: false, kill: neverBack });
    chaos.before(1);
    await expect(chaos.settled()).rejects.toThrow('it did not start');
  });
});

function nameOf(victim: Victim): string {
  switch (victim.kind) {
    case 'coordinator':
      return 'coordinator';
    case 'service':
      return victim.service;
    case 'connections':
      return `${victim.service} connections`;
  }
}

async function neverBack(): Promise<void> {
  throw new Error('it did not start');
}
