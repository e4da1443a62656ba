import { describe, expect, it } from 'vitest';
import { plant, type PlantedBug } from '../../../lib/src/util/planted-bug.ts';
import { deliveryViolations } from './facts.ts';
import type { DeliveryHistory, Written } from './history.ts';
import { runDelivery } from './run.ts';

const seeds = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

describe('messages from their transactions to their effects', () => {
  // covers A20, E1, E3, E4, E5
  it('keep every fact over a few seeds', async () => {
    for (const seed of seeds(700_000, 30)) {
      expect((await runDelivery(seed)).violations, `npm run sim -- --messages ${seed}`).toEqual([]);
    }
  });

  it('have the same history whenever their seed is run', async () => {
    for (const seed of seeds(1, 5)) {
      expect((await runDelivery(seed)).hash, `seed ${seed}`).toBe((await runDelivery(seed)).hash);
    }
  });

  it('are many, and some come twice', async () => {
    const runs: DeliveryHistory[] = [];
    for (const seed of seeds(1, 10)) runs.push((await runDelivery(seed)).history);
    const sum = (of: (history: DeliveryHistory) => number): number =>
      runs.reduce((all, one) => all + of(one), 0);
    expect(sum(({ committed }) => committed.length)).toBeGreaterThan(1_000);
    expect(sum(({ log, committed }) => log.length - committed.length)).toBeGreaterThan(10);
    expect(sum(({ rolledBack }) => rolledBack.size)).toBeGreaterThan(100);
  });

  it.each<PlantedBug>([
    'settle-without-token',
    'settle-before-confirm',
    'cursor-by-sequence',
    'publish-past-a-failure',
    'offset-before-work',
  ])('show that something is wrong with the bug: %s', { timeout: 120_000 }, async (bug) => {
    plant(bug);
    try {
      for (const seed of seeds(1, 200)) if ((await runDelivery(seed)).violations.length > 0) return;
      expect.unreachable('200 seeds keep every fact');
    } finally {
      plant();
    }
  });
});

describe('the facts', () => {
  const a: Written = { id: 'k/0', key: 'k' };
  const b: Written = { id: 'k/1', key: 'k' };
  const right: DeliveryHistory = {
    committed: [a, b],
    rolledBack: new Set(['k/2']),
    log: [entry(a, 0), entry(a, 1), entry(b, 2)],
    effects: [effect(a), effect(b)],
    staleSettlements: [],
    waiting: [],
    behind: [],
    hasPauses: false,
  };

  it('are kept by a history that is right', () => expect(deliveryViolations(right)).toEqual([]));

  it.each<[string, Partial<DeliveryHistory>, string]>([
    [
      'a message that is lost',
      { log: [entry(a, 0)], effects: [effect(a), effect(b)] },
      'k/1 was never published',
    ],
    [
      'a message of a transaction that was rolled back',
      { log: [...right.log, entry({ id: 'k/2', key: 'k' }, 3)] },
      'k/2 was rolled back, and published',
    ],
    [
      'an order that is wrong',
      { log: [entry(b, 0), entry(a, 1)], effects: [effect(b), effect(a)] },
      'k/1 came before k/0',
    ],
    ['an effect that is doubled', { effects: [effect(a), effect(b), effect(a)] }, 'k/0 took effect 2 times'],
    ['an effect that is missing', { effects: [effect(a)] }, 'k/1 took effect 0 times'],
    ['effects in another order', { effects: [effect(b), effect(a)] }, 'k/1 came before k/0'],
    ['a stale settlement', { staleSettlements: ['relay-0 settled'] }, 'relay-0 settled'],
    ['a message that is left', { waiting: ['k/1'] }, 'k/1 is still in the outbox'],
    ['a group that is behind', { behind: ['partition 0'] }, 'partition 0'],
  ])('are broken by %s', (_, wrong, what) => {
    const violations = deliveryViolations({ ...right, ...wrong });
    expect(violations.map((violation) => violation.what)).toContainEqual(expect.stringContaining(what));
  });

  it('do not ask for order at the broker where a process may have hung', () => {
    const hung = {
      ...right,
      hasPauses: true,
      log: [entry(b, 0), entry(a, 1)],
      effects: [effect(b), effect(a)],
    };
    expect(deliveryViolations(hung)).toEqual([]);
  });
});

function entry(written: Written, offset: number): DeliveryHistory['log'][number] {
  return { ...written, partition: 0, offset: BigInt(offset) };
}

function effect(written: Written): DeliveryHistory['effects'][number] {
  return { ...written, by: 'consumer' };
}
