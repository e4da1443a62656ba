/**
 * bench/outbox/drain: a backlog out of PostgreSQL to a publisher that does nothing, at different numbers of keys.
 *
 *   npm run bench -- outbox drain [--backlog 100000] [--keys 1,10,100000] [--limit 20] [--only "settle,skip locked"]
 *                                 [--peers]
 *
 * `--limit`: seconds after which a contender is stopped; its figure is that of these seconds. `--peers` installs other
 * packages outside the workspace.
 */
import { parseArgs } from 'node:util';
import { machine, table, whole } from '../harness/report.ts';
import { openDatabase, type Backlog } from './database.ts';
import { batchMax, type Contender, type Opened } from './drain/contender.ts';
import { oldestOfKey, skipLocked, skipLockedFour } from './drain/by-hand.ts';
import { pgTransactionalOutbox } from './drain/pg-transactional-outbox.ts';
import { settle } from './drain/settle.ts';

const ours: readonly Contender[] = [settle, skipLocked, skipLockedFour, oldestOfKey];
const peers: readonly Contender[] = [pgTransactionalOutbox];

export interface Drained extends Backlog {
  readonly name: string;
  readonly published: number;
  readonly seconds: number;
  /** Not written down as published. */
  readonly left: number;
}

export async function drain(args: readonly string[]): Promise<readonly Drained[]> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      backlog: { type: 'string', default: '100000' },
      keys: { type: 'string', default: '1,10,100000' },
      limit: { type: 'string', default: '20' },
      only: { type: 'string', default: '' },
      peers: { type: 'boolean', default: false },
    },
  });
  const messages = Number(values.backlog);
  const limitMs = Number(values.limit) * 1_000;
  const only = values.only.split(',');
  const contenders = [...ours, ...(values.peers ? peers : [])].filter(({ name }) =>
    only.some((part) => name.includes(part)),
  );

  const database = await openDatabase();
  console.log(`bench outbox drain: ${machine()}; ${database.about}`);
  console.log(`batches of ${batchMax}, ${whole(messages)} messages, at most ${values.limit} s each`);
  const all: Drained[] = [];
  for (const { name, open } of contenders) {
    const opened = await open(database.url);
    // What a user's process has warm.
    await drainOnce(opened, { messages: Math.min(messages, 20_000), keys: 1_000 }, Math.min(limitMs, 3_000));
    for (const keys of values.keys.split(',').map(Number)) {
      const drained = { name, ...(await drainOnce(opened, { messages, keys }, limitMs)) };
      all.push(drained);
      console.log(lineOf(drained).join('  '));
    }
    await opened.close();
  }
  console.log(`\n${table([['', 'keys', 'messages/s', 'published', 's', 'left'], ...all.map(lineOf)])}`);
  await database.close();
  return all;
}

async function drainOnce(opened: Opened, backlog: Backlog, limitMs: number): Promise<Omit<Drained, 'name'>> {
  await opened.fill(backlog);
  let published = 0;
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(), limitMs);
  const startedMs = performance.now();
  await opened.drain((count) => {
    published += count;
    if (published >= backlog.messages) ended.abort();
  }, ended.signal);
  const seconds = (performance.now() - startedMs) / 1_000;
  clearTimeout(timer);
  return { ...backlog, published, seconds, left: await opened.left() };
}

function lineOf({ name, keys, published, seconds, left }: Drained): readonly string[] {
  return [name, whole(keys), rate(published / seconds), whole(published), seconds.toFixed(1), whole(left)];
}

/** Those that collapse are below one. */
function rate(perSecond: number): string {
  return perSecond < 10 ? perSecond.toFixed(1) : whole(perSecond);
}
