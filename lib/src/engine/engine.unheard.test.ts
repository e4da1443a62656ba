/** What the store did without its coordinator hearing of it; found by the simulator (sim/). */
import { describe, expect, it } from 'vitest';
import type { CommitReply } from './ports.ts';
import { SettleError } from '../util/errors.ts';
import { engineWorld, gid, sagaOf, tccBranch } from '../testing/engine-world.ts';
import { done } from '../testing/scripted-caller.ts';

const unavailable = new SettleError('unavailable', 'no answer');

describe('what landed in the store unheard', () => {
  it('is driven all the same when it was a claim', async () => {
    const world = await engineWorld();
    const deliver = { address: 'service/a' };
    const definition = {
      pattern: 'message',
      name: 'm',
      check: deliver,
      checkAfterMs: 20_000,
      targets: [{ name: 'a', deliver }],
    } as const;
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    // It went to the store until it is due; the claim that brings it back is carried out, and nobody hears of it.
    const claim = world.store.claim.bind(world.store);
    let unheard = 0;
    world.store.claim = async (epoch, limit) => {
      const claimed = await claim(epoch, limit);
      if (claimed.length === 0 || unheard++ > 0) return claimed;
      throw unavailable;
    };
    await world.clock.advance(40_000);
    expect(unheard).toBeGreaterThan(0);
    expect((await world.store.load(gid('g')))?.status).toBe('committed');
  });

  it('is driven all the same when it was an insert that came after it had been given up', async () => {
    const world = await engineWorld();
    let apply: (() => Promise<CommitReply>) | undefined;
    world.store.intercept = async (_, pass) => {
      world.store.intercept = undefined;
      apply = pass;
      throw unavailable;
    };
    const submitted = world.engine.submit({ gid: gid('g'), definition: sagaOf('a') });
    await expect(world.clock.until(submitted)).rejects.toThrow('no answer');
    await world.clock.advance(1_000);
    await apply?.();
    await world.clock.advance(10_000);
    expect((await world.store.load(gid('g')))?.status).toBe('committed');
  });

  it('costs no call twice of what goes on here meanwhile', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', (_, nth) =>
      nth < 40 ? { outcome: { kind: 'ongoing' }, repeatable: false } : done(),
    );
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b', 'c') }));
    const claim = world.store.claim.bind(world.store);
    world.store.claim = () => {
      world.store.claim = claim;
      return Promise.reject(unavailable);
    };
    await world.clock.advance(60_000);
    expect((await world.store.load(gid('g')))?.status).toBe('committed');
    expect(world.participants.story.filter((call) => call !== 'b/action')).toEqual(['a/action', 'c/action']);
  });
});

describe('an owner from whom another coordinator took a transaction', () => {
  it('tells what has become of it since, and not what it remembers', async () => {
    const world = await engineWorld();
    const other = world.another({ coordinator: 'other' });
    await world.clock.until(other.start());
    const definition = { pattern: 'tcc', name: 'test-tcc', branches: [tccBranch('a')] } as const;
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    await world.clock.advance(10);
    const committed = await world.clock.until(other.commit(gid('g'), { waitMs: 1_000 }));
    expect(committed.status).toBe('committed');
    expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('committed');
    const again = await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    expect(again.status).toBe('committed');
  });

  it('tells it to one who repeats a decision that has fallen, too', async () => {
    const world = await engineWorld();
    const other = world.another({ coordinator: 'other' });
    await world.clock.until(other.start());
    const definition = { pattern: 'tcc', name: 'test-tcc', branches: [tccBranch('a')] } as const;
    world.participants.on('a/cancel', (_, nth) =>
      nth === 1
        ? { outcome: { kind: 'unknown', reason: 'no answer', retryAfterMs: 4_000 }, repeatable: false }
        : done(),
    );
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    await world.clock.advance(10);
    const abort = { action: 'abort', reason: 'enough', actor: 'test' } as const;
    await world.clock.until(world.engine.act(gid('g'), abort));
    await world.clock.advance(10);
    const retried = await world.clock.until(
      other.act(gid('g'), { ...abort, action: 'retry-now' }, { waitMs: 1_000 }),
    );
    expect(retried.status).toBe('aborted');
    expect((await world.clock.until(world.engine.act(gid('g'), abort))).status).toBe('aborted');
  });

  it('takes for illegal only what is illegal by what has become of it since', async () => {
    const world = await engineWorld();
    const other = world.another({ coordinator: 'other' });
    await world.clock.until(other.start());
    let answer: ((reply: ReturnType<typeof done>) => void) | undefined;
    world.participants
      .on('a/try', (_, nth) =>
        nth === 1 ? new Promise((resolve) => (answer = resolve)) : done(null, 'not repeatable'),
      )
      .on('b/try', () => done(null, 'not repeatable'));
    const definition = { pattern: 'tcc', name: 'test-tcc', branches: [tccBranch('a')] } as const;
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    await world.clock.advance(10);
    // The other one takes it over and has the branch tried; here its answer is still awaited.
    await world.clock.until(other.register(gid('g'), [tccBranch('b')], { waitMs: 1_000 }));
    const committed = await world.clock.until(world.engine.commit(gid('g'), { waitMs: 1_000 }));
    expect(committed.status).toBe('committed');
    answer?.(done());
  });

  it('tells it to one who submits it again, too', async () => {
    const world = await engineWorld();
    const other = world.another({ coordinator: 'other' });
    await world.clock.until(other.start());
    const definition = { pattern: 'tcc', name: 'test-tcc', branches: [tccBranch('a')] } as const;
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    await world.clock.advance(10);
    await world.clock.until(other.commit(gid('g'), { waitMs: 1_000 }));
    const again = await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    expect(again.status).toBe('committed');
  });
});

describe('a lease that runs out while its renewal is under way', () => {
  it('holds up nothing once it lives again', async () => {
    const world = await engineWorld();
    const renew = world.store.renew.bind(world.store);
    // Asked at 2 s and answered at 5 s, it holds until 8 s; asked again at 7 s, and answered only at 9 s.
    const delaysMs = [3_000, 2_000];
    world.store.renew = async (...asked) => {
      await world.clock.sleep(delaysMs.shift() ?? 0);
      return renew(...asked);
    };
    await world.clock.advance(8_500);
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
    await world.clock.advance(60_000);
    expect((await world.store.load(gid('g')))?.status).toBe('committed');
  });
});

describe('a definition that never came to be durable', () => {
  it('is nothing that another one under its gid could conflict with', async () => {
    const world = await engineWorld();
    const other = world.another({ coordinator: 'other' });
    await world.clock.until(other.start());
    let apply: (() => void) | undefined;
    world.store.intercept = (_, pass) => {
      world.store.intercept = undefined;
      return new Promise((resolve, reject) => (apply = () => void pass().then(resolve, reject)));
    };
    const stranger = world.engine.submit({ gid: gid('g'), definition: sagaOf('stranger') });
    await world.clock.advance(10);
    await world.clock.until(other.submit({ gid: gid('g'), definition: sagaOf('a') }));
    const again = world.engine.submit({ gid: gid('g'), definition: sagaOf('a'), waitMs: 1_000 });
    await world.clock.advance(10);
    apply?.();
    await expect(world.clock.until(stranger)).rejects.toThrow('gid_conflict');
    expect((await world.clock.until(again)).status).toBe('committed');
  });
});
