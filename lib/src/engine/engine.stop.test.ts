import { describe, expect, it } from 'vitest';
import { SettleError } from '../util/errors.ts';
import { engineWorld, gid, sagaOf, tccBranch, type EngineWorld } from '../testing/engine-world.ts';
import { done, ongoing, silence, unknown } from '../testing/scripted-caller.ts';

const away = (): Promise<never> => Promise.reject(new SettleError('unavailable', 'no route to the store'));
const never = (): Promise<never> => new Promise(() => undefined);

async function submitted(world: EngineWorld, ...names: readonly string[]): Promise<EngineWorld> {
  await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf(...names) }));
  await world.clock.advance(10);
  return world;
}

/** Stops, and says how long that took. */
async function stop(world: EngineWorld): Promise<number> {
  const before = world.clock.monotonicMs();
  await world.clock.until(world.engine.stop());
  return world.clock.monotonicMs() - before;
}

/** Another coordinator starts; how long until it calls this branch. */
async function goesOn(world: EngineWorld, call: string): Promise<number> {
  const before = world.clock.monotonicMs();
  const count = world.participants.story.length;
  const other = world.another();
  await world.clock.until(other.start());
  while (!world.participants.story.slice(count).includes(call)) {
    await world.clock.advance(10);
    if (world.clock.monotonicMs() - before > 120_000) throw new Error(`nobody called ${call}`);
  }
  return world.clock.monotonicMs() - before;
}

describe('a stop', () => {
  it('waits for the calls under way, and lets no new one leave', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', async () => {
      await world.clock.sleep(3_000);
      return done();
    });
    await submitted(world, 'a', 'b');
    const tookMs = await stop(world);
    expect(tookMs).toBeGreaterThanOrEqual(2_990);
    expect(tookMs).toBeLessThan(3_200);
    expect(world.participants.story).toEqual(['a/action']);
    expect(await goesOn(world, 'b/action')).toBeLessThan(50);
    expect(world.participants.story).toEqual(['a/action', 'b/action']);
  });

  it('aborts the calls that need longer than drainMs, and they count as unknown', async () => {
    const world = await engineWorld({ limits: { drainMs: 2_000 } });
    world.participants.on('a/action', (_, nth) => (nth === 1 ? silence() : done()));
    await submitted(world, 'a', 'b');
    const tookMs = await stop(world);
    expect(tookMs).toBeGreaterThanOrEqual(2_000);
    expect(tookMs).toBeLessThan(2_300);
    expect(await goesOn(world, 'a/action')).toBeLessThan(1_500);
    await world.clock.advance(100);
    const stored = await world.store.load(gid('g'));
    expect(stored?.status).toBe('committed');
    expect(stored?.progress).toContain('aborted');
  });

  it('hands over what waits for a pause with its due time, and what is ready at once', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', (_, nth) => (nth === 1 ? ongoing(4_000) : done()));
    await submitted(world, 'a');
    await stop(world);
    expect(await goesOn(world, 'a/action')).toBeGreaterThan(3_000);
    const busy = await engineWorld();
    busy.participants.on('a/action', (_, nth) => (nth === 1 ? silence() : done()));
    await busy.clock.until(
      busy.engine.submit({
        definition: { pattern: 'tcc', name: 't', branches: [tccBranch('a')], decide: 'when-all-tried' },
      }),
    );
    await busy.clock.advance(10);
    busy.participants.on('a/try', () => done());
    await stop(busy);
    // Not at its deadline, which is a minute away.
    expect(await goesOn(busy, 'a/confirm').catch(() => 0)).toBeLessThan(2_000);
  });

  it('leaves no timer and no transaction behind (D9)', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => ongoing()).on('b/action', () => unknown());
    for (const name of ['a', 'b', 'c']) {
      await world.clock.until(
        world.engine.submit({ definition: { ...sagaOf(name, 'd'), timeoutMs: 60_000 } }),
      );
    }
    await world.clock.until(
      world.engine.submit({ definition: { pattern: 'tcc', name: 't', branches: [tccBranch('a')] } }),
    );
    await world.clock.advance(200);
    await stop(world);
    expect(world.engine.load()).toEqual({ transactions: 0, writesWaiting: 0 });
    expect(world.clock.pending).toBe(0);
  });

  it('leaves no timer of an open circuit behind', async () => {
    const world = await engineWorld({ limits: { circuitFailures: 1, circuitPauseMs: 10_000 } });
    world.participants.on('a/action', () => unknown());
    await submitted(world, 'a');
    await stop(world);
    expect(world.clock.pending).toBe(0);
  });

  it('answers clients that wait with the state there is', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => ongoing());
    await submitted(world, 'a');
    const waiting = world.engine.get(gid('g'), { waitMs: 60_000 });
    const before = world.clock.monotonicMs();
    const stopped = world.engine.stop();
    expect((await world.clock.until(waiting)).status).toBe('running');
    await world.clock.until(stopped);
    expect(world.clock.monotonicMs() - before).toBeLessThan(500);
  });

  it('keeps what was being inserted, and acknowledges it', async () => {
    const world = await engineWorld();
    world.store.intercept = async (_, pass) => {
      await world.clock.sleep(500);
      return pass();
    };
    const submit = world.engine.submit({ gid: gid('g'), definition: sagaOf('a') });
    await world.clock.advance(10);
    await stop(world);
    expect((await submit).gid).toBe('g');
    world.store.intercept = undefined;
    expect(await goesOn(world, 'a/action')).toBeLessThan(50);
  });

  it('may be asked for twice, and both wait for its end', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', async () => {
      await world.clock.sleep(1_000);
      return done();
    });
    await submitted(world, 'a');
    let stopped = 0;
    const both = [1, 2].map(() => world.engine.stop().then(() => stopped++));
    await world.clock.advance(500);
    expect(stopped).toBe(0);
    await world.clock.until(Promise.all(both));
    expect(stopped).toBe(2);
  });

  it.each([
    ['fails', away],
    ['does not answer', never],
  ])(
    'ends within twice drainMs while the store %s, leaving no timer, and nothing is lost',
    async (_, fault) => {
      const world = await engineWorld({ limits: { drainMs: 3_000 } });
      world.participants.on('a/action', () => ongoing());
      await submitted(world, 'a');
      Object.assign(world.store, { load: fault, renew: fault, leave: fault, claim: fault, prune: fault });
      world.store.intercept = fault;
      await world.clock.advance(2_000);
      expect(await stop(world)).toBeLessThan(6_500);
      await world.clock.advance(10_000);
      expect(world.clock.pending).toBe(0);
      // What stood before them is the prototype's own.
      for (const name of ['load', 'renew', 'leave', 'claim', 'prune'] as const)
        Reflect.deleteProperty(world.store, name);
      world.store.intercept = undefined;
      world.participants.on('a/action', () => done());
      await goesOn(world, 'a/action');
    },
  );
});
