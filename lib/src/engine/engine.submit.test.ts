import type { Definition } from '../core/patterns.ts';
import { describe, expect, it } from 'vitest';
import type { CommitReply } from './ports.ts';
import { SettleError } from '../util/errors.ts';
import {
  engineWorld,
  gid,
  sagaOf,
  tccOf,
  type EngineWorld,
  type WorldOptions,
} from '../testing/engine-world.ts';
import { done, ongoing, silence } from '../testing/scripted-caller.ts';

const unavailable = new SettleError('unavailable', 'the disk is full');

/** From here on every commit fails: before it is applied, or after. */
function failCommits(world: EngineWorld, how: 'not applied' | 'applied', count = Infinity): void {
  let left = count;
  world.store.intercept = async (_, pass): Promise<CommitReply> => {
    if (left-- <= 0) return pass();
    if (how === 'applied') await pass();
    throw unavailable;
  };
}

function failLoads(world: EngineWorld, count: number): void {
  const load = world.store.load.bind(world.store);
  let left = count;
  world.store.load = (which) => (left-- > 0 ? Promise.reject(unavailable) : load(which));
}

/** Fails with what was thrown, as a value, so that virtual time can pass meanwhile. */
function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );
}

async function busyWorld(options?: WorldOptions): Promise<EngineWorld> {
  const world = await engineWorld(options);
  world.participants.on('a/action', () => ongoing());
  return world;
}

describe('a submit with the gid of one that exists', () => {
  // covers F3
  it('answers with the transaction in memory, and starts nothing again', async () => {
    const world = await busyWorld();
    const submit = { gid: gid('g'), definition: sagaOf('a', 'b') };
    await world.clock.until(world.engine.submit(submit));
    await world.clock.advance(10);
    expect(await world.clock.until(world.engine.submit(submit))).toMatchObject({
      gid: 'g',
      status: 'running',
    });
    expect(world.participants.story).toEqual(['a/action']);
  });

  // covers A2
  it('answers with the one in the store after it ended', async () => {
    const world = await engineWorld();
    const submit = { gid: gid('g'), definition: sagaOf('a'), waitMs: 1_000 };
    await world.clock.until(world.engine.submit(submit));
    expect(await world.clock.until(world.engine.submit(submit))).toMatchObject({
      gid: 'g',
      status: 'committed',
    });
    expect(world.participants.story).toEqual(['a/action']);
  });

  it('waits for the record of the first one while that is being inserted (D1)', async () => {
    const world = await engineWorld();
    let release: (() => void) | undefined;
    world.store.intercept = (_, pass) => new Promise((resolve) => (release = () => resolve(pass())));
    const submit = { gid: gid('g'), definition: sagaOf('a') };
    let answered = 0;
    const both = [1, 2].map(() => world.engine.submit(submit).then(() => answered++));
    await world.clock.advance(1_000);
    expect(answered).toBe(0);
    world.store.intercept = undefined;
    release?.();
    await world.clock.until(Promise.all(both));
    expect(world.store.batches.flat().filter(({ kind }) => kind === 'insert')).toHaveLength(1);
  });

  it('runs once, however many clients race with it (F5)', async () => {
    const world = await engineWorld();
    const submits = Array.from({ length: 20 }, () =>
      world.engine.submit({ gid: gid('g'), definition: sagaOf('a'), waitMs: 1_000 }),
    );
    const views = await world.clock.until(Promise.all(submits));
    expect(new Set(views.map(({ status }) => status))).toEqual(new Set(['committed']));
    expect(world.participants.story).toEqual(['a/action']);
  });

  it('answers every one of those that race for one that ended before', async () => {
    const world = await engineWorld();
    const submit = { gid: gid('g'), definition: sagaOf('a'), waitMs: 1_000 };
    await world.clock.until(world.engine.submit(submit));
    const views = await world.clock.until(Promise.all([1, 2, 3].map(() => world.engine.submit(submit))));
    expect(views.map(({ status }) => status)).toEqual(['committed', 'committed', 'committed']);
  });

  // covers F5
  it('runs once when the clients race at two coordinators', async () => {
    const world = await engineWorld();
    const other = world.another();
    await world.clock.until(other.start());
    const submit = { gid: gid('g'), definition: sagaOf('a'), waitMs: 5_000 };
    const views = await world.clock.until(Promise.all([world.engine.submit(submit), other.submit(submit)]));
    expect(views.map(({ status }) => status)).toEqual(['committed', 'committed']);
    expect(world.participants.story).toEqual(['a/action']);
  });

  it('is a conflict that names the first difference, in memory and in the store (F4)', async () => {
    const world = await busyWorld();
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
    const other = { ...sagaOf('a', 'b'), timeoutMs: 1_000 };
    const inMemory = await world.clock.until(
      failure(world.engine.submit({ gid: gid('g'), definition: other })),
    );
    expect(inMemory).toMatchObject({
      code: 'gid_conflict',
      gid: 'g',
      message: expect.stringContaining('/timeoutMs'),
    });
    await world.clock.until(world.engine.submit({ gid: gid('h'), definition: sagaOf('b'), waitMs: 1_000 }));
    const inStore = await world.clock.until(
      failure(world.engine.submit({ gid: gid('h'), definition: sagaOf('c') })),
    );
    expect(inStore).toMatchObject({
      code: 'gid_conflict',
      gid: 'h',
      message: expect.stringContaining('/steps/0'),
    });
    const elsewhere = await world.clock.until(
      failure(world.engine.submit({ gid: gid('h'), definition: tccOf('b') })),
    );
    expect(elsewhere).toMatchObject({ code: 'gid_conflict' });
    const moved = { ...sagaOf('b'), steps: [{ name: 'b', action: { address: 'service/elsewhere' } }] };
    // In the words of whoever wrote it.
    expect(
      await world.clock.until(failure(world.engine.submit({ gid: gid('h'), definition: moved }))),
    ).toMatchObject({ message: expect.stringContaining('/steps/0/action/url') });
    await world.clock.until(
      world.engine.submit({ gid: gid('i'), definition: notifying('here'), waitMs: 1_000 }),
    );
    expect(
      await world.clock.until(
        failure(world.engine.submit({ gid: gid('i'), definition: notifying('there') })),
      ),
    ).toMatchObject({ message: expect.stringContaining('/steps/0/action/payload/address') });
    expect((await world.clock.until(world.engine.get(gid('h')))).status).toBe('committed');
  });
});

/** A saga whose payload has a member that is called like the address of a call. */
function notifying(address: string): Definition {
  return {
    ...sagaOf('b'),
    steps: [{ name: 'b', action: { address: 'service/b', payload: { address } } }],
  };
}

describe('a submit that is refused', () => {
  it('stores nothing when an address may not be called, be it that of an undo', async () => {
    const world = await engineWorld();
    const step = { name: 'a', action: { address: 'service/a' }, compensation: { address: 'forbidden/undo' } };
    const definition = { ...sagaOf('a'), steps: [step] };
    expect(await failure(world.engine.submit({ gid: gid('g'), definition }))).toMatchObject({
      code: 'address_not_allowed',
      message: 'address_not_allowed: forbidden/undo: it is not on the list',
    });
    expect(world.store.batches).toEqual([]);
    expect(world.engine.load().transactions).toBe(0);
  });

  it('stores nothing when the definition is not valid', async () => {
    const world = await engineWorld();
    const definition = { ...sagaOf('a'), steps: [] };
    expect(await failure(world.engine.submit({ definition }))).toMatchObject({ code: 'invalid_definition' });
    expect(world.store.batches).toEqual([]);
  });

  // covers F9
  it('is told when to come again once there are as many transactions as there may be', async () => {
    const world = await busyWorld({ limits: { transactionsMax: 2 } });
    for (const n of [1, 2])
      await world.clock.until(world.engine.submit({ gid: gid(`g-${n}`), definition: sagaOf('a') }));
    const refusal = await failure(world.engine.submit({ gid: gid('g-3'), definition: sagaOf('a') }));
    expect(refusal).toMatchObject({ code: 'overloaded', gid: 'g-3', retryAfterMs: 1_000 });
    expect(world.store.batches.flat()).toHaveLength(2);
    world.participants.on('a/action', () => done());
    await world.clock.advance(2_000);
    expect(
      await world.clock.until(world.engine.submit({ definition: sagaOf('b'), waitMs: 1_000 })),
    ).toMatchObject({ status: 'committed' });
  });

  it('does not refuse a repeat because of the load that the first one is part of', async () => {
    const world = await busyWorld({ limits: { transactionsMax: 1 } });
    const submit = { gid: gid('g'), definition: sagaOf('a') };
    await world.clock.until(world.engine.submit(submit));
    expect(await world.clock.until(world.engine.submit(submit))).toMatchObject({ status: 'running' });
  });

  // covers F9
  it('is told when to come again once there are as many writes waiting as there may be', async () => {
    const world = await engineWorld({ limits: { writesWaitingMax: 3 } });
    world.store.intercept = () => new Promise(() => undefined);
    const refusals: unknown[] = [];
    for (let n = 0; n < 12; n++) {
      void failure(world.engine.submit({ definition: sagaOf('a') })).then((error) => refusals.push(error));
      await world.clock.advance(0);
    }
    expect(refusals.length).toBeGreaterThan(0);
    expect(refusals[0]).toMatchObject({ code: 'overloaded', retryAfterMs: 1_000 });
    expect(world.engine.load().writesWaiting).toBe(3);
  });

  it('is told that the coordinator is shutting down, and has not started', async () => {
    const world = await engineWorld();
    await world.clock.until(world.engine.stop());
    const refusal = await failure(world.engine.submit({ definition: sagaOf('a') }));
    expect(refusal).toMatchObject({ code: 'shutting_down', retryAfterMs: 1_000 });
    expect(await failure(world.another().submit({ definition: sagaOf('a') }))).toMatchObject({
      code: 'shutting_down',
    });
  });
});

describe('how long a submit waits', () => {
  it('is not at all unless asked', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', silence);
    await world.clock.until(world.engine.submit({ definition: sagaOf('a') }));
    expect(world.clock.monotonicMs()).toBe(0);
  });

  it('ends with the transaction', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', async () => {
      await world.clock.sleep(700);
      return done();
    });
    const view = await world.clock.until(world.engine.submit({ definition: sagaOf('a'), waitMs: 10_000 }));
    expect([view.status, world.clock.monotonicMs()]).toEqual(['committed', 700]);
  });

  it('ends after waitMs', async () => {
    const world = await busyWorld();
    const view = await world.clock.until(world.engine.submit({ definition: sagaOf('a'), waitMs: 2_500 }));
    expect([view.status, world.clock.monotonicMs()]).toEqual(['running', 2_500]);
  });

  it('is never longer than a minute', async () => {
    const world = await busyWorld();
    await world.clock.until(world.engine.submit({ definition: sagaOf('a'), waitMs: 1e9 }));
    expect(world.clock.monotonicMs()).toBe(60_000);
  });

  it('ends when the client leaves', async () => {
    const world = await busyWorld();
    const leaving = new AbortController();
    const submitted = world.engine.submit({
      definition: sagaOf('a'),
      waitMs: 10_000,
      signal: leaving.signal,
    });
    await world.clock.advance(300);
    leaving.abort();
    expect(await world.clock.until(submitted)).toMatchObject({ status: 'running' });
    expect(world.clock.monotonicMs()).toBe(300);
  });

  it('keeps nothing of the client after it left', async () => {
    const world = await busyWorld();
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    await world.clock.advance(10);
    const before = world.clock.pending;
    const leaving = new AbortController();
    const waits = [1, 2, 3].map(() => world.engine.get(gid('g'), { waitMs: 50_000, signal: leaving.signal }));
    await world.clock.advance(0);
    expect(world.clock.pending).toBe(before + 3);
    leaving.abort();
    await Promise.all(waits);
    expect(world.clock.pending).toBe(before);
  });
});

describe('several submits at once', () => {
  it('go down in one group commit, and each has its own outcome', async () => {
    const world = await engineWorld();
    await world.clock.until(world.engine.submit({ gid: gid('old'), definition: sagaOf('a'), waitMs: 1_000 }));
    const before = world.store.batches.length;
    const outcomes = await world.clock.until(
      world.engine.submitMany([
        { gid: gid('new'), definition: sagaOf('a') },
        { gid: gid('old'), definition: sagaOf('a') },
        { gid: gid('old'), definition: sagaOf('b') },
        { gid: gid('invalid'), definition: { ...sagaOf('a'), steps: [] } },
        { gid: gid('new'), definition: sagaOf('a') },
      ]),
    );
    expect(
      outcomes.map((outcome) => (outcome.kind === 'accepted' ? outcome.transaction.gid : outcome.error.code)),
    ).toEqual(['new', 'old', 'gid_conflict', 'invalid_definition', 'new']);
    expect(world.store.batches[before]?.map(({ gid: which }) => which)).toEqual(['new', 'old']);
  });

  // covers F9
  it('are limited in their number', async () => {
    const world = await engineWorld();
    const many = Array.from({ length: 101 }, () => ({ definition: sagaOf('a') }));
    expect(await failure(world.engine.submitMany(many))).toMatchObject({ code: 'limit_exceeded' });
    expect(world.store.batches).toEqual([]);
  });
});

describe('while the store fails', () => {
  // covers A24, B9
  it('nothing is acknowledged, called or left behind, and it works again afterwards without a restart', async () => {
    const world = await engineWorld();
    failCommits(world, 'not applied');
    const refusal = await world.clock.until(
      failure(world.engine.submit({ gid: gid('g'), definition: sagaOf('a') })),
    );
    expect(refusal).toBe(unavailable);
    await world.clock.advance(1_000);
    expect(world.participants.story).toEqual([]);
    expect(world.engine.load()).toEqual({ transactions: 0, writesWaiting: 0 });
    world.store.intercept = undefined;
    const again = world.engine.submit({ gid: gid('g'), definition: sagaOf('a'), waitMs: 1_000 });
    expect(await world.clock.until(again)).toMatchObject({ status: 'committed' });
    expect(world.events.some((event) => event.kind === 'alarm' && event.code === 'store_unavailable')).toBe(
      true,
    );
  });

  it('an error that is none of ours becomes unavailable, with its cause', async () => {
    const world = await engineWorld();
    const cause = new Error('EIO');
    world.store.intercept = () => Promise.reject(cause);
    const refusal = await world.clock.until(
      failure(world.engine.submit({ gid: gid('g'), definition: sagaOf('a') })),
    );
    expect(refusal).toMatchObject({
      code: 'unavailable',
      message: 'unavailable: the store failed: EIO',
      cause,
    });
  });

  // covers D19
  it.each([0, 1, 5, 20])(
    'an insert of unknown fate that did stand is found and goes on, after %i loads that fail too',
    async (fails) => {
      const world = await engineWorld();
      failCommits(world, 'applied', 1);
      failLoads(world, fails);
      await world.clock.until(failure(world.engine.submit({ gid: gid('g'), definition: sagaOf('a') })));
      await world.clock.advance(120_000);
      expect(world.participants.story).toEqual(['a/action']);
      expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('committed');
    },
  );

  // covers B11, D19
  it.each(['applied', 'not applied'] as const)(
    'an update of unknown fate that was %s is read back before anything else is written',
    async (how) => {
      for (const fails of [0, 1, 5]) {
        const world = await engineWorld();
        world.participants.on('a/action', () => done({ n: 1 }, 'not repeatable'));
        await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
        failCommits(world, how, 1);
        failLoads(world, fails);
        await world.clock.advance(100);
        // D3: b waits for the answer of a to be durable.
        expect(world.participants.story).toEqual(['a/action']);
        await world.clock.advance(60_000);
        expect(world.participants.story).toEqual(['a/action', 'b/action']);
        expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('committed');
        expect(world.engine.load().transactions).toBe(0);
      }
    },
  );

  // covers D19
  it('an update that was applied, and only seems lost when it is repeated, is found all the same', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => done({ n: 1 }, 'not repeatable'));
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
    // The store answers the read before it applies the write: a COMMIT that was on its way on a broken connection.
    let apply: (() => Promise<CommitReply>) | undefined;
    world.store.intercept = async (_, pass) => {
      world.store.intercept = async (__, again) => {
        world.store.intercept = undefined;
        await apply?.();
        return again();
      };
      apply = pass;
      throw unavailable;
    };
    await world.clock.advance(60_000);
    expect(world.participants.story).toEqual(['a/action', 'b/action']);
    expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('committed');
  });

  it('an insert that was applied only after it was read back is driven once its client asks again', async () => {
    const world = await engineWorld();
    let apply: (() => Promise<CommitReply>) | undefined;
    world.store.intercept = async (_, pass) => {
      world.store.intercept = undefined;
      apply = pass;
      throw unavailable;
    };
    await world.clock.until(failure(world.engine.submit({ gid: gid('g'), definition: sagaOf('a') })));
    await world.clock.advance(1_000);
    await apply?.();
    const again = world.engine.submit({ gid: gid('g'), definition: sagaOf('a'), waitMs: 5_000 });
    expect(await world.clock.until(again)).toMatchObject({ status: 'committed' });
  });

  it('the answer to a decision is the one that stands', async () => {
    const world = await engineWorld();
    const { decide: _, ...definition } = tccOf('a');
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    await world.clock.advance(10);
    failCommits(world, 'not applied', 3);
    const view = await world.clock.until(world.engine.commit(gid('g'), { waitMs: 10_000 }));
    expect(view.status).toBe('committed');
  });
});

describe('whoever listens', () => {
  it('cannot stop the engine by throwing', async () => {
    const world = await engineWorld({
      observe: () => {
        throw new Error('the observer is broken');
      },
    });
    const view = await world.clock.until(
      world.engine.submit({ gid: gid('g'), definition: sagaOf('a'), waitMs: 1_000 }),
    );
    expect(view.status).toBe('committed');
  });
});
