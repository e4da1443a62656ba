import { describe, expect, it } from 'vitest';
import { faultOf, faults, refuses, type FaultQuestion } from './faults.ts';
import { demoPatterns, orderAt } from './order-stream.ts';
import { createWorld } from './world.ts';

const world = createWorld(7, 2_000);
const stream = Array.from({ length: 2_000 }, (_, at) => orderAt(world, 7, at + 1));

describe('the world', () => {
  it('is the same for the same seed, another for another', () => {
    expect(createWorld(7, 2_000)).toEqual(world);
    expect(createWorld(8, 2_000)).not.toEqual(world);
  });

  it('has goods that are out of stock, and customers without money', () => {
    expect(world.products.some(({ opening }) => opening === 0)).toBe(true);
    const cheapest = Math.min(...world.products.map(({ priceCents }) => priceCents));
    expect(world.customers.some(({ openingCents }) => openingCents < cheapest)).toBe(true);
  });

  it('counts money in whole cents', () => {
    const amounts = [
      ...world.products.map((p) => p.priceCents),
      ...world.customers.map((c) => c.openingCents),
    ];
    expect(amounts.every(Number.isSafeInteger)).toBe(true);
  });
});

describe('the order stream', () => {
  it('is the same for the same seed, in whatever order it is drawn', () => {
    expect([3, 1, 2].map((n) => orderAt(world, 7, n))).toEqual([stream[2], stream[0], stream[1]]);
    expect(orderAt(world, 8, 1)).not.toEqual(stream[0]);
  });

  it('totals prices times quantities, in whole cents', () => {
    const prices = new Map(world.products.map(({ sku, priceCents }) => [sku, priceCents]));
    for (const { lines, totalCents } of stream) {
      expect(totalCents).toBe(
        lines.reduce((sum, { sku, quantity }) => sum + (prices.get(sku) ?? NaN) * quantity, 0),
      );
      expect(new Set(lines.map(({ sku }) => sku)).size).toBe(lines.length);
    }
  });

  it('uses every pattern, and initiators that change their mind or die', () => {
    for (const pattern of demoPatterns) {
      expect(stream.filter(({ how }) => how.pattern === pattern).length).toBeGreaterThan(300);
    }
    expect(stream.some(({ how }) => how.pattern === 'tcc' && how.changesMind)).toBe(true);
    for (const dies of ['before-commit', 'after-commit']) {
      expect(stream.some(({ how }) => how.pattern === 'message' && how.dies === dies)).toBe(true);
    }
  });
});

describe('the faults', () => {
  const question: FaultQuestion = {
    seed: 7,
    service: 'stock',
    gid: 'run1-1',
    branch: 'reserve',
    op: 'action',
    attempt: 1,
  };

  it('depend on what is asked, not on the run', () => {
    for (let n = 0; n < 500; n++) {
      expect(faultOf({ ...question, gid: `run2-${n}` })).toBe(faultOf({ ...question, gid: `run1-${n}` }));
    }
  });

  it('all occur', () => {
    const met = new Set(Array.from({ length: 2_000 }, (_, n) => faultOf({ ...question, gid: `run1-${n}` })));
    const refused = Array.from({ length: 2_000 }, (_, n) => refuses({ ...question, gid: `run1-${n}` }));
    for (const fault of faults)
      expect(fault === 'refuse' ? refused.includes(true) : met.has(fault)).toBe(true);
  });

  it('differ between attempts, so that retries get through; a refusal does not', () => {
    for (let n = 0; n < 500; n++) {
      const asked = { ...question, gid: `run1-${n}` };
      const attempts = Array.from({ length: 10 }, (_, at) => faultOf({ ...asked, attempt: at + 1 }));
      expect(attempts).toContain(undefined);
      expect(refuses({ ...asked, attempt: 2 })).toBe(refuses(asked));
    }
  });

  it('never refuse a way back', () => {
    for (const op of ['compensate', 'confirm', 'cancel', 'check']) {
      expect(
        Array.from({ length: 500 }, (_, n) => refuses({ ...question, op, gid: `run1-${n}` })),
      ).not.toContain(true);
    }
  });
});
