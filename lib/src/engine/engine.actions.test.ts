/** Every status with every action, through the engine: the legal table is what the engine does. */
import { describe, expect, it } from 'vitest';
import type { ActionRequest } from '../core/coordinator.ts';
import { actions, legalTable, type Action } from '../core/legal.ts';
import { statuses, type Definition, type Status, type TransactionView } from '../core/patterns.ts';
import { isSettleError } from '../util/errors.ts';
import { engineWorld, gid, sagaOf, tccBranch, type EngineWorld } from '../testing/engine-world.ts';
import { done, ongoing, refused, unknown } from '../testing/scripted-caller.ts';

type Play = (world: EngineWorld) => Promise<void>;

const exhausting = { kind: 'exponential', baseMs: 1, factor: 1, maxMs: 1, attemptsMax: 2 } as const;
const tcc: Definition = { pattern: 'tcc', name: 't', branches: [tccBranch('a')], timeoutMs: 3_600_000 };
const target = { name: 'a', deliver: { address: 'service/a' } };
const pivot: Definition = {
  pattern: 'saga',
  name: 's',
  steps: [
    { name: 'p', action: { address: 'service/p' }, pivot: true },
    { name: 'a', action: { address: 'service/a' } },
  ],
};

async function submit(world: EngineWorld, definition: Definition): Promise<void> {
  await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
  await world.clock.advance(100);
}

function act(
  world: EngineWorld,
  action: Action,
  more: Partial<ActionRequest> = {},
): Promise<TransactionView> {
  const request = {
    action,
    reason: 'the reason',
    actor: 'somebody',
    branch: 'a',
    unresolved: ['a', 'b', 'producer'],
    ...more,
  };
  return world.clock.until(world.engine.act(gid('g'), request));
}

const get = (world: EngineWorld): Promise<TransactionView> => world.clock.until(world.engine.get(gid('g')));

/** How a transaction comes into each status, first as it should be and then stuck there. */
const plays: Readonly<Record<Status, readonly [Play, Play?]>> = {
  running: [
    async (world) => {
      world.participants.on('a/action', () => ongoing());
      await submit(world, sagaOf('a', 'b'));
    },
    async (world) => {
      world.participants.on('a/action', () => unknown());
      const saga = sagaOf('a', 'b');
      await submit(world, {
        ...saga,
        steps: saga.steps.map((step) => ({ ...step, retry: exhausting, onExhausted: 'park' })),
      });
    },
  ],
  finishing: [
    async (world) => {
      world.participants.on('a/action', () => ongoing());
      await submit(world, pivot);
    },
    async (world) => {
      world.participants.on('a/action', () => unknown());
      await submit(world, pivot);
      await world.clock.advance(300_000);
    },
  ],
  compensating: [
    async (world) => {
      world.participants.on('b/action', () => refused()).on('a/compensate', () => ongoing());
      await submit(world, sagaOf('a', 'b'));
    },
    async (world) => {
      world.participants.on('b/action', () => refused()).on('a/compensate', () => unknown());
      await submit(world, sagaOf('a', 'b'));
      await world.clock.advance(300_000);
    },
  ],
  trying: [
    (world) => submit(world, tcc),
    async (world) => {
      world.participants.on('a/try', () => unknown());
      await submit(world, {
        ...tcc,
        branches: [{ ...tccBranch('a'), retry: { ...exhausting, attemptsMax: 1_000 } }],
      });
    },
  ],
  confirming: [
    async (world) => {
      world.participants.on('a/confirm', () => ongoing());
      await submit(world, { ...tcc, decide: 'when-all-tried' });
    },
    async (world) => {
      world.participants.on('a/confirm', () => unknown());
      await submit(world, { ...tcc, decide: 'when-all-tried' });
      await world.clock.advance(300_000);
    },
  ],
  cancelling: [
    async (world) => {
      world.participants.on('a/cancel', () => ongoing());
      await submit(world, tcc);
      await act(world, 'abort');
    },
    async (world) => {
      world.participants.on('a/cancel', () => unknown());
      await submit(world, tcc);
      await act(world, 'abort');
      await world.clock.advance(300_000);
    },
  ],
  prepared: [
    (world) =>
      submit(world, { pattern: 'message', name: 'm', check: { address: 'service/c' }, targets: [target] }),
    async (world) => {
      world.participants.on('producer/check', () => unknown());
      await submit(world, {
        pattern: 'message',
        name: 'm',
        check: { address: 'service/c' },
        targets: [target],
      });
      await world.clock.advance(300_000);
    },
  ],
  scheduled: [
    (world) => submit(world, { pattern: 'message', name: 'm', delayMs: 3_600_000, targets: [target] }),
  ],
  delivering: [
    async (world) => {
      world.participants.on('a/action', () => ongoing());
      await submit(world, { pattern: 'message', name: 'm', targets: [target] });
    },
    async (world) => {
      world.participants.on('a/action', () => unknown());
      await submit(world, { pattern: 'message', name: 'm', targets: [target] });
      await world.clock.advance(300_000);
    },
  ],
  committed: [(world) => submit(world, sagaOf('a'))],
  aborted: [
    async (world) => {
      world.participants.on('a/action', () => refused());
      await submit(world, sagaOf('a'));
    },
  ],
  forgotten: [
    async (world) => {
      await plays.running[1]?.(world);
      await act(world, 'forget', { actor: 'another' });
    },
  ],
};

/** A repeat of what was done already, which is answered and not refused. */
function isRepeat(status: Status, action: Action): boolean {
  return action === 'abort' && (status === 'compensating' || status === 'cancelling' || status === 'aborted');
}

const rows = statuses.flatMap((status) =>
  plays[status].flatMap((play, i) =>
    play === undefined ? [] : actions.map((action) => ({ status, stuck: i === 1, action, play })),
  ),
);

describe('the actions', () => {
  // covers C14, F8
  it.each(rows)(
    '$action while $status (stuck: $stuck) does what the table says',
    async ({ status, stuck, action, play }) => {
      const world = await engineWorld();
      await play(world);
      expect(await get(world)).toMatchObject({ status, stuck });
      const legality = legalTable[status][action];
      // Nothing can be confirmed that was not tried.
      const untried = status === 'trying' && stuck && action === 'force-commit';
      const legal = (legality === 'legal' || (legality === 'when-stuck' && stuck)) && !untried;
      const answer = await act(world, action).catch((error: unknown) => error);
      const { status: then, history = [] } = await get(world);
      const noted = history.some(
        (entry) => entry.kind === 'action' && entry.action === action && entry.actor === 'somebody',
      );
      const repeat = isRepeat(status, action);
      const isRefused = isSettleError(answer) && answer.code === 'illegal_action' && answer.gid === 'g';
      expect({ isRefused, noted: noted && !repeat }).toEqual({ isRefused: !legal && !repeat, noted: legal });
      expect(legal || then === status).toBe(true);
    },
  );

  // covers G1
  it('say who did what and why, durably before they are answered', async () => {
    const world = await engineWorld();
    await plays.running[0](world);
    let isDurable = false;
    world.store.intercept = async (_, pass) => {
      await world.clock.sleep(200);
      isDurable = true;
      return pass();
    };
    await act(world, 'retry-now');
    expect(isDurable).toBe(true);
    expect((await world.store.load(gid('g')))?.progress).toContain('"actor":"somebody"');
  });

  it('that are asked for twice at once happen once (G2)', async () => {
    for (const action of ['abort', 'force-abort', 'force-commit', 'skip-branch', 'forget'] as const) {
      const world = await engineWorld();
      await plays.running[1]?.(world);
      const both = await world.clock.until(
        Promise.all([act(world, action), act(world, action).catch((error: unknown) => error)]),
      );
      expect(both[0].gid).toBe('g');
      const { history = [] } = await get(world);
      expect(history.filter((entry) => entry.kind === 'action')).toMatchObject([{ action }]);
    }
  });
});

describe('forget', () => {
  it('needs every unresolved branch by name (G4)', async () => {
    const world = await engineWorld();
    await plays.running[1]?.(world);
    for (const unresolved of [[], ['a'], ['b'], ['c', 'd']]) {
      const refusal = await act(world, 'forget', { unresolved }).catch((error: unknown) => error);
      expect(refusal).toMatchObject({
        code: 'illegal_action',
        message: expect.stringContaining('name every unresolved branch'),
      });
    }
    expect(await get(world)).toMatchObject({ status: 'running' });
    expect(await act(world, 'forget', { unresolved: ['b', 'a'] })).toMatchObject({
      status: 'forgotten',
      reason: 'the reason',
    });
  });

  it('ends the transaction for good: nothing is called any more', async () => {
    const world = await engineWorld();
    await plays.delivering[1]?.(world);
    const before = world.participants.calls.length;
    await act(world, 'forget');
    world.participants.on('a/action', () => done());
    await world.clock.advance(600_000);
    expect(world.participants.calls.length - before).toBeLessThanOrEqual(1);
    expect(world.engine.load().transactions).toBe(0);
  });
});

describe('skip-branch', () => {
  it.each([undefined, 'b', 'stranger', '', '__proto__'])(
    'is refused for %s, which is not stuck',
    async (branch) => {
      const world = await engineWorld();
      await plays.running[1]?.(world);
      const request = {
        action: 'skip-branch',
        reason: 'r',
        actor: 'x',
        ...(branch === undefined ? {} : { branch }),
      } as const;
      const asked = world.engine.act(gid('g'), request).catch((error: unknown) => error);
      expect(await world.clock.until(asked)).toMatchObject({
        code: 'illegal_action',
        message: expect.stringContaining('stuck: a'),
      });
    },
  );
});

describe('an action on a gid that does not exist', () => {
  it.each(actions)('%s is refused as not found', async (action) => {
    const world = await engineWorld();
    await expect(act(world, action)).rejects.toMatchObject({ code: 'transaction_not_found', gid: 'g' });
    expect(world.store.batches).toEqual([]);
  });
});
