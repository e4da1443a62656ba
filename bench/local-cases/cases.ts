/**
 * Twelve things that happen to transactions in Node, each as a small program and a judgement on what came of it.
 * What is right is Spring's semantics where Spring has them, and otherwise that what is stored is what the caller heard.
 * The order of events is made by points that one branch reaches and another waits for; their patience only serves
 * peers that never let both be there.
 */
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Offer, OpenOptions, OpenPeer, Unit, Work } from './peer.ts';
import { point } from './point.ts';
import { fails, inWords, listed, right, type Told, told, type Verdict, wrong } from './verdict.ts';

export interface Case {
  readonly title: string;
  readonly want: string;
  readonly needs?: Offer;
  readonly pool: Omit<OpenOptions, 'url'>;
  /** After which it counts as hanging. */
  readonly limitMs: number;
  run(world: World): Promise<Verdict>;
}

export interface World {
  readonly peer: OpenPeer;
  readonly offers: readonly Offer[];
  readonly stored: () => Promise<readonly StoredRow[]>;
  /** What nobody caught so far: by default it ends the process. */
  readonly uncaught: readonly unknown[];
}

export interface StoredRow {
  readonly text: string;
  /** The transaction that wrote it. */
  readonly xid: string;
}

const limitMs = 20_000;
/** Some peers wait a minute for a connection. */
const limitOfWaitingMs = 75_000;
/** Longer than this nobody wants to wait to hear that there is no connection. */
const tolerableWaitMs = 15_000;
const pool = { poolMax: 5 };

const joinedThrows: Case = {
  title: 'A joined scope throws; the outer one catches that and returns',
  want: 'nothing is stored, and the caller hears of it',
  needs: 'required',
  pool,
  limitMs,
  run: (world) =>
    doomed(world, (unit) =>
      unit
        .run('required', async (joined) => {
          await joined.insert('inner');
          throw new Error('the inner scope fails');
        })
        .catch(() => undefined),
    ),
};

const statementFails: Case = {
  title: 'A statement fails; its error is caught, and the transaction returns',
  want: 'nothing is stored, and the caller hears of it',
  pool,
  limitMs,
  run: (world) => doomed(world, (unit) => unit.fail().catch(() => undefined)),
};

const siblings: Case = {
  title: 'Two nested scopes side by side; the second fails',
  want: 'what the first and the outer one wrote is stored',
  needs: 'nested',
  pool,
  limitMs,
  async run({ peer, stored }) {
    const [firstWrote, secondFailed] = [point(), point()];
    const failure = new Error('the second scope fails');
    let [first, second] = [never, never];
    const outer = await told(
      peer.run(async (unit) => {
        await unit.insert('outer');
        [first, second] = await Promise.all([
          told(
            unit.run('nested', async (scope) => {
              await scope.insert('a1');
              firstWrote.reach();
              await secondFailed.wait();
              await scope.insert('a2');
            }),
          ),
          told(
            unit.run('nested', async (scope) => {
              await scope.insert('b1');
              await firstWrote.wait();
              throw failure;
            }),
          ).finally(secondFailed.reach),
        ]);
      }),
    );
    const rows = texts(await stored());
    const summary = `first ${inWords(first)}, second ${inWords(second)}, outer ${inWords(outer)}; stored: ${listed(rows)}`;
    const heard = [
      ...(returned(outer) ? ['outer'] : []),
      ...(returned(outer) && returned(first) ? ['a1', 'a2'] : []),
    ];
    if (!same(rows, heard)) return wrong(summary);
    return rows.length === 3 && threw(second, failure) ? right(summary) : fails(summary);
  },
};

const nestedThenThrow: Case = {
  title: 'A nested scope returns, then the outer one throws',
  want: 'nothing is stored',
  needs: 'nested',
  pool,
  limitMs,
  run: (world) =>
    doomed(world, async (unit) => {
      await unit.run('nested', (nested) => nested.insert('nested'));
      throw new Error('the outer scope fails');
    }),
};

const parallelNew: Case = {
  title: 'Two new transactions side by side within another; the second fails',
  want: 'what the outer one and the first wrote is stored, the first by one transaction',
  needs: 'requiresNew',
  pool,
  limitMs,
  async run({ peer, stored }) {
    const [firstWrote, secondWrote, secondFailed] = [point(), point(), point()];
    const failure = new Error('the second transaction fails');
    let [first, second] = [never, never];
    const outer = await told(
      peer.run(async (unit) => {
        await unit.insert('outer');
        [first, second] = await Promise.all([
          told(
            unit.run('requiresNew', async (scope) => {
              await scope.insert('a1');
              firstWrote.reach();
              await secondWrote.wait();
              await scope.insert('a2');
              await secondFailed.wait();
              await scope.insert('a3');
            }),
          ),
          told(
            unit.run('requiresNew', async (scope) => {
              await firstWrote.wait();
              await scope.insert('b1');
              secondWrote.reach();
              throw failure;
            }),
          ).finally(secondFailed.reach),
        ]);
      }),
    );
    const rows = await stored();
    const writers = new Set(rows.filter(({ text }) => text.startsWith('a')).map(({ xid }) => xid)).size;
    const summary =
      `first ${inWords(first)}, second ${inWords(second)}, outer ${inWords(outer)}; ` +
      `stored: ${listed(texts(rows))}, the first's by ${writers} transaction${writers === 1 ? '' : 's'}`;
    const heard = [...(returned(outer) ? ['outer'] : []), ...(returned(first) ? ['a1', 'a2', 'a3'] : [])];
    if (!same(texts(rows), heard) || writers > 1) return wrong(summary);
    return rows.length === 4 && threw(second, failure) ? right(summary) : fails(summary);
  },
};

const exhaustedPool: Case = {
  title: 'A new transaction within another, and one connection in the pool',
  want: `an error within ${tolerableWaitMs / 1_000} s`,
  needs: 'requiresNew',
  pool: { poolMax: 1 },
  limitMs: limitOfWaitingMs,
  async run({ peer, stored }) {
    const startedMs = performance.now();
    const outer = await told(
      peer.run(async (unit) => {
        await unit.insert('outer');
        await unit.run('requiresNew', (scope) => scope.insert('inner'));
      }),
    );
    const tookMs = performance.now() - startedMs;
    const rows = texts(await stored());
    const summary = `after ${(tookMs / 1_000).toFixed(1)} s it ${inWords(outer)}; stored: ${listed(rows)}`;
    if (returned(outer) || rows.length > 0) return wrong(summary);
    return tookMs < tolerableWaitMs ? right(summary) : fails(summary);
  },
};

const requests = 5;
const requestsOnOnePool: Case = {
  title: `${requests} requests, each with a new transaction within its own; ${requests} connections, 1 s to get one`,
  want: 'all succeed',
  needs: 'requiresNew',
  pool: { poolMax: requests, acquireTimeoutMs: 1_000 },
  limitMs,
  async run({ peer, stored }) {
    const allInside = point(requests);
    const request = (i: number) =>
      peer.run(async (unit) => {
        await unit.insert(`outer ${i}`);
        allInside.reach();
        await allInside.wait();
        await unit.run('requiresNew', (scope) => scope.insert(`inner ${i}`));
      });
    const ends = await Promise.all(Array.from({ length: requests }, (_, i) => told(request(i))));
    const rows = texts(await stored());
    const failure = ends.find((end) => !returned(end));
    const succeeded = ends.filter(returned).length;
    const summary = `${succeeded} of ${requests} succeeded${failure === undefined ? '' : `, another ${inWords(failure)}`}`;
    const isAsHeard = ends.every((end, i) =>
      returned(end)
        ? rows.includes(`outer ${i}`) && rows.includes(`inner ${i}`)
        : !rows.includes(`outer ${i}`),
    );
    if (!isAsHeard) return wrong(`${summary}; stored: ${listed(rows)}`);
    return succeeded === requests ? right(summary) : fails(summary);
  },
};

const lateQuery: Case = {
  title: 'A query that nobody awaits, after the commit, while another request has the connection',
  want: 'it is refused',
  pool: { poolMax: 1 },
  limitMs,
  async run({ peer, stored }) {
    const otherIsOpen = point();
    let late = Promise.resolve(never);
    const first = await told(
      peer.run(async (unit) => {
        await unit.insert('first');
        late = told(otherIsOpen.wait(5_000).then(() => unit.insert('late')));
      }),
    );
    const other = await told(
      peer.run(async (unit) => {
        await unit.insert('other');
        otherIsOpen.reach();
        // It may be waiting for the very connection that is held here.
        await Promise.race([late, sleep(500)]);
        throw new Error('the other request fails');
      }),
    );
    const end = await late;
    const rows = texts(await stored());
    const summary = `the late query ${inWords(end)}; stored: ${listed(rows)}`;
    if (!returned(first) || returned(other))
      return wrong(`${summary}; the first transaction ${inWords(first)}, the other one ${inWords(other)}`);
    if (!returned(end)) return same(rows, ['first']) ? right(summary) : wrong(summary);
    if (rows.includes('late')) return wrong(`${summary}: written by itself, after the transaction`);
    return wrong(`${summary}: it was part of the other request's transaction, and rolled back with it`);
  },
};

const lateBranch: Case = {
  title: 'A branch of Promise.all fails; the other branch goes on after the rollback',
  want: 'nothing is stored',
  pool,
  limitMs,
  async run({ peer, stored }) {
    const [wrote, rolledBack] = [point(), point()];
    let branch = Promise.resolve(never);
    const outer = await told(
      peer.run(async (unit) => {
        const going = (async () => {
          await unit.insert('a1');
          wrote.reach();
          await rolledBack.wait(500);
          await unit.insert('a2');
        })();
        branch = told(going);
        const failing = wrote.wait().then(() => {
          throw new Error('one branch fails');
        });
        await Promise.all([going, failing]);
      }),
    );
    rolledBack.reach();
    const end = await branch;
    const rows = texts(await stored());
    const summary = `the transaction ${inWords(outer)}, the other branch ${inWords(end)}; stored: ${listed(rows)}`;
    return rows.length === 0 && !returned(outer) ? right(summary) : wrong(summary);
  },
};

const lateScope: Case = {
  title: 'A scope that nobody awaits writes from a timer, after the end of its transaction',
  want: 'it is waited for, or refused',
  pool,
  limitMs,
  async run({ peer, offers, stored }) {
    // Where nothing joins, the client is handed on.
    const join = <T>(unit: Unit, work: Work<T>) =>
      offers.includes('required') ? unit.run('required', work) : work(unit);
    const ended = point();
    let child = Promise.resolve(never);
    const seen = { end: false, writeAfterEnd: false };
    const outer = await told(
      peer.run(async (unit) => {
        await unit.insert('outer');
        child = told(
          join(unit, async (scope) => {
            await ended.wait();
            await new Promise((resolve) => setTimeout(resolve, 10));
            seen.writeAfterEnd = seen.end;
            await scope.insert('late');
          }),
        );
      }),
    );
    seen.end = true;
    ended.reach();
    const end = await child;
    const rows = texts(await stored());
    const summary = `the transaction ${inWords(outer)}, the scope ${inWords(end)}; stored: ${listed(rows)}`;
    if (!returned(outer)) return same(rows, []) ? right(summary) : wrong(summary);
    if (!returned(end)) return same(rows, ['outer']) ? right(summary) : wrong(summary);
    if (seen.writeAfterEnd) return wrong(`${summary}, the late row by itself, after the commit`);
    return same(rows, ['outer', 'late']) ? right(`${summary}; it was waited for`) : wrong(summary);
  },
};

const throwingHook: Case = {
  title: 'A hook that runs after the commit throws',
  want: 'the caller hears of it, and that his data is committed',
  needs: 'afterCommit',
  pool,
  limitMs,
  async run({ peer, stored, uncaught }) {
    const outer = await told(
      peer.run(async (unit) => {
        await unit.insert('outer');
        unit.afterCommit(() => {
          throw new Error('the hook fails');
        });
      }),
    );
    // A rejection that nobody handles is reported after the turn it happened in, a hook perhaps after the commit's.
    await sleep(50);
    const rows = texts(await stored());
    const summary = `the call ${inWords(outer)}; stored: ${listed(rows)}`;
    if (!same(rows, ['outer'])) return wrong(summary);
    if (uncaught.length > 0) return wrong(`${summary}; nobody could catch the hook's error`);
    if (returned(outer)) return wrong(`${summary}; the hook's error is lost`);
    if (saysCommitted(outer.error)) return right(summary);
    return wrong(`${summary}; the error does not say that the data is committed`);
  },
};

const listener: Case = {
  title: 'A listener registered outside writes; it is called within a transaction that fails',
  want: 'it writes outside of that transaction',
  pool,
  limitMs,
  async run({ peer, stored }) {
    const events = new EventEmitter();
    let listened = Promise.resolve(never);
    events.on('placed', () => {
      listened = told(peer.insert('listener'));
    });
    const outer = await told(
      peer.run(async (unit) => {
        await unit.insert('outer');
        events.emit('placed');
        await Promise.race([listened, sleep(1_000)]);
        throw new Error('the transaction fails');
      }),
    );
    const end = await listened;
    const rows = texts(await stored());
    const summary = `the transaction ${inWords(outer)}, the listener's write ${inWords(end)}; stored: ${listed(rows)}`;
    if (!returned(end)) return same(rows, []) ? fails(summary) : wrong(summary);
    return same(rows, ['listener']) ? right(summary) : wrong(`${summary}: it was part of the transaction`);
  },
};

/** Numbered from 1, as in the table of the documentation. */
export const cases: readonly Case[] = [
  joinedThrows,
  statementFails,
  siblings,
  nestedThenThrow,
  parallelNew,
  exhaustedPool,
  requestsOnOnePool,
  lateQuery,
  lateBranch,
  lateScope,
  throwingHook,
  listener,
];

/** A transaction after which nothing may be stored, and of which the caller must have heard that it failed. */
async function doomed({ peer, stored }: World, work: Work<unknown>): Promise<Verdict> {
  const outer = await told(
    peer.run(async (unit) => {
      await unit.insert('outer');
      await work(unit);
    }),
  );
  const rows = texts(await stored());
  const summary = `the caller's call ${inWords(outer)}; stored: ${listed(rows)}`;
  return rows.length === 0 && !returned(outer) ? right(summary) : wrong(summary);
}

const never: Told = { kind: 'threw', error: 'never ran' };

function returned(end: Told): end is { readonly kind: 'returned' } {
  return end.kind === 'returned';
}

/** The very error, and not one of the peer's own that came before it. */
function threw(end: Told, error: Error): boolean {
  return end.kind === 'threw' && end.error === error;
}

function texts(rows: readonly StoredRow[]): readonly string[] {
  return rows.map(({ text }) => text);
}

function same(rows: readonly string[], wanted: readonly string[]): boolean {
  return rows.toSorted().join() === wanted.toSorted().join();
}

/** By a field or by words, in the error or in its causes. */
function saysCommitted(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const isSaid = ('committed' in error && error.committed === true) || /\bcommitted\b/i.test(error.message);
  return isSaid || saysCommitted(error.cause);
}
