/** Random transactions, participants, faults of the store, crashes and pauses of two coordinators; then all is healed. */
import * as fc from 'fast-check';
import { describe, it } from 'vitest';
import {
  isTerminal,
  type Definition,
  type State,
  type Status,
  type TransactionView,
} from '../core/patterns.ts';
import { memoryStore } from '../store/memory/index.ts';
import { gid, tccBranch, WatchedStore } from '../testing/engine-world.ts';
import { Ledger, type Fate } from '../testing/ledger.ts';
import { mortalEngine, type Mortal } from '../testing/mortal-engine.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { assert } from '../util/assert.ts';
import { SettleError } from '../util/errors.ts';

const names = ['a', 'b', 'c', 'd'];

const sagas: fc.Arbitrary<Definition> = fc
  .record({
    steps: fc.array(fc.array(fc.nat(3), { maxLength: 3 }), { minLength: 1, maxLength: 4 }),
    attemptsMax: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
    timeoutMs: fc.option(fc.integer({ min: 1, max: 40_000 }), { nil: undefined }),
  })
  .map(({ steps, attemptsMax, timeoutMs }) => ({
    pattern: 'saga',
    name: 'random',
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    steps: steps.map((after, i) => ({
      name: names[i] ?? '',
      action: { address: `service-${i}/do` },
      compensation: { address: `service-${i}/undo` },
      after: [...new Set(after.filter((at) => at < i))].map((at) => names[at] ?? ''),
      ...(attemptsMax === undefined
        ? {}
        : { retry: { kind: 'exponential', baseMs: 50, factor: 2, maxMs: 5_000, attemptsMax } as const }),
    })),
  }));

const tccs: fc.Arbitrary<Definition> = fc
  .record({
    count: fc.integer({ min: 1, max: 4 }),
    own: fc.boolean(),
    timeoutMs: fc.integer({ min: 1, max: 60_000 }),
  })
  .map(({ count, own, timeoutMs }) => ({
    pattern: 'tcc',
    name: 'random',
    timeoutMs,
    decide: own ? 'when-all-tried' : 'initiator',
    branches: names.slice(0, count).map(tccBranch),
  }));

const messages: fc.Arbitrary<Definition> = fc
  .record({
    count: fc.integer({ min: 1, max: 3 }),
    check: fc.boolean(),
    sequence: fc.boolean(),
    delayMs: fc.constantFrom(0, 500, 20_000),
  })
  .map(({ count, check, sequence, delayMs }) => ({
    pattern: 'message',
    name: 'random',
    delayMs,
    checkAfterMs: 2_000,
    order: sequence ? 'sequence' : 'parallel',
    ...(check ? { check: { address: 'producer/check' } } : {}),
    targets: names.slice(0, count).map((name) => ({ name, deliver: { address: `service/${name}` } })),
  }));

const worlds = fc.record({
  definitions: fc.array(fc.oneof(sagas, sagas, tccs, messages), { minLength: 1, maxLength: 5 }),
  /** What the decisions about each call are drawn from. */
  seed: fc.nat(),
  faultsInTen: fc.nat(6),
  refusalsInTen: fc.nat(3),
  storeFaultsInTen: fc.nat(3),
  /** Steps until one of the two dies or sleeps, one after the other. */
  mishaps: fc.array(
    fc.record({
      who: fc.nat(1),
      afterSteps: fc.integer({ min: 1, max: 25 }),
      sleepMs: fc.option(fc.integer({ min: 100, max: 20_000 }), { nil: undefined }),
    }),
    { maxLength: 4 },
  ),
  /** What the initiators of TCCs and messages say, to which coordinator, and when. */
  words: fc.array(
    fc.record({
      which: fc.nat(4),
      who: fc.nat(1),
      atMs: fc.nat(30_000),
      word: fc.constantFrom('commit', 'abort', 'again'),
    }),
    { maxLength: 8 },
  ),
});

type World = typeof worlds extends fc.Arbitrary<infer T> ? T : never;

/** A number in [0, 10) that depends on nothing but its arguments. */
function drawn(seed: number, ...parts: readonly (string | number)[]): number {
  let hash = seed | 0;
  for (const char of parts.join('/')) hash = Math.imul(hash ^ char.charCodeAt(0), 16_777_619);
  hash ^= hash >>> 15;
  return (Math.imul(hash, 2_246_822_519) >>> 8) % 10;
}

/** The end that a status which is no end yet promises. */
const decisions: Partial<Record<Status, Status>> = {
  finishing: 'committed',
  confirming: 'committed',
  scheduled: 'committed',
  delivering: 'committed',
  compensating: 'aborted',
  cancelling: 'aborted',
};

const faultsMs = 60_000;

async function run(world: World): Promise<void> {
  const { seed, definitions, faultsInTen, refusalsInTen, storeFaultsInTen } = world;
  const clock = new VirtualClock();
  const store = new WatchedStore(memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() }));
  const ledger = new Ledger(clock);
  const isHealed = (): boolean => clock.monotonicMs() >= faultsMs;

  ledger.fate = ({ gid: which, branch, op }, nth): Fate => {
    const mayRefuse = op === 'action' || op === 'try' || op === 'check';
    const isMessage = definitions[Number(which.slice(2))]?.pattern === 'message' && op === 'action';
    if (mayRefuse && !isMessage && drawn(seed, which, branch, op, 'refuses') < refusalsInTen) return 'refuse';
    if (isHealed() || drawn(seed, which, branch, op, nth) >= faultsInTen) return 'done';
    return (
      (['lost', 'unanswered', 'late', 'ongoing', 'unanswered'] as const)[
        drawn(seed, which, branch, op, nth, 'how') % 5
      ] ?? 'lost'
    );
  };
  let commits = 0;
  store.intercept = async (batch, pass) => {
    const fault = isHealed() ? 10 : drawn(seed, 'store', ++commits);
    if (fault >= storeFaultsInTen) return pass();
    if (fault % 2 === 0) await pass();
    throw new SettleError('unavailable', `fault of the store, ${batch.length} writes`);
  };

  let gids = 0;
  const mishaps = [...world.mishaps];
  const join = async (who: number): Promise<Mortal> => {
    let steps = 0;
    const mortal = mortalEngine(
      {
        store,
        clock,
        caller: ledger,
        coordinator: `coordinator-${who}`,
        random: { next: () => drawn(seed, 'random', clock.monotonicMs()) / 10 },
        ids: { gid: () => gid(`generated-${++gids}`) },
      },
      (_, self) => {
        steps++;
        const [next] = mishaps;
        if (next?.who !== who || steps < next.afterSteps || isHealed()) return;
        mishaps.shift();
        if (next.sleepMs !== undefined) {
          self.pause();
          clock.schedule(next.sleepMs, () => self.resume());
          return;
        }
        self.crash();
        clock.schedule(1_000, () => void join(who).then((born) => (mortals[who] = born)));
      },
    );
    void mortal.engine.start();
    await clock.sleep(1);
    return mortal;
  };
  const mortals = await clock.until(Promise.all([join(0), join(1)]));
  const at = (who: number): Mortal['engine'] => {
    const mortal = mortals[who];
    assert(mortal !== undefined, 'there are two');
    return mortal.engine;
  };

  const acknowledged = new Set<string>();
  const told: TransactionView[] = [];
  const hear = (promise: Promise<TransactionView>): void => {
    promise.then(
      (view) => {
        acknowledged.add(view.gid);
        told.push(view);
      },
      () => undefined,
    );
  };
  definitions.forEach((definition, i) =>
    hear(at(i % 2).submit({ gid: gid(`g-${i}`), definition, waitMs: 20_000 })),
  );
  for (const { which, who, atMs, word } of world.words) {
    const definition = definitions[which % definitions.length];
    const target = gid(`g-${which % definitions.length}`);
    if (definition === undefined) continue;
    clock.schedule(atMs, () => {
      if (word === 'again') hear(at(who).submit({ gid: target, definition }));
      else if (word === 'commit') hear(at(who).commit(target, { waitMs: 5_000 }));
      else
        hear(
          at(who).act(target, { action: 'abort', reason: 'a word', actor: 'initiator' }, { waitMs: 5_000 }),
        );
    });
  }
  await clock.advance(faultsMs + 25_000);
  await clock.advance(400_000);

  const last = mortalEngine({
    store,
    clock,
    caller: ledger,
    random: { next: () => 0.5 },
    ids: { gid: () => gid('last') },
  }).engine;
  await clock.until(last.start());
  const ends = new Map<string, Status>();
  for (let i = 0; i < definitions.length; i++) {
    const row = await store.load(gid(`g-${i}`));
    if (row === undefined) {
      assert(!acknowledged.has(`g-${i}`), `g-${i} was acknowledged, and is lost`);
      continue;
    }
    assert(isTerminal({ kind: row.status } as State), `g-${i} is ${row.status}: ${row.progress}`);
    ends.set(`g-${i}`, row.status);
    judge(`g-${i}`, definitions[i], row.status, ledger);
  }
  assert(ledger.violations.length === 0, ledger.violations.join('; '));
  for (const { gid: which, status } of told) {
    const end = ends.get(which);
    const agrees = isTerminal({ kind: status } as State)
      ? status === end
      : (decisions[status] ?? end) === end;
    assert(agrees, `${which} is ${end}, and a client was told ${status}`);
  }
  // D9: nothing runs on.
  for (const { engine } of [...mortals, { engine: last }]) {
    const { transactions, writesWaiting } = engine.load();
    assert(transactions + writesWaiting === 0, `${transactions} transactions are still in memory`);
  }
}

function judge(which: string, definition: Definition | undefined, status: Status, ledger: Ledger): void {
  const { producer: _, ...standings } = ledger.of(which);
  const left = Object.values(standings);
  const count =
    definition?.pattern === 'saga'
      ? definition.steps.length
      : definition?.pattern === 'tcc'
        ? definition.branches?.length
        : definition?.targets.length;
  const what = `${which} is ${status}: ${JSON.stringify(standings)}`;
  const isRight =
    status === 'committed'
      ? left.length === count && left.every((standing) => standing === 'made' || standing === 'confirmed')
      : left.every((standing) => standing === 'undone' || standing === 'nothing');
  assert(isRight, what);
}

describe('whatever happens', () => {
  it(
    'everything ends, all or nothing, as its clients were told, and nothing runs on',
    { timeout: 60_000 },
    async () => {
      await fc.assert(fc.asyncProperty(worlds, run), { numRuns: 300 });
    },
  );
});
