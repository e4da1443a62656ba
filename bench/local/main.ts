/**
 * bench/local: BEGIN, one INSERT, COMMIT on PostgreSQL, through settle/local, by hand on the same driver, and through the
 * peers. One process; all contenders take short turns, round after round, and each is compared with the hand-written code
 * of the same round.
 *
 *   npm run bench -- local [--rounds 15] [--ms 700] [--clients 1,32] [--synchronous-commit on]
 *                          [--only "pg by hand,settle over pg"]
 */
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { closedLoop, type Measured } from '../harness/load.ts';
import { findPostgres } from '../harness/postgres.ts';
import { fixed, machine, median, table, whole } from '../harness/report.ts';
import type { Opened } from './contender.ts';
import { contenders as all } from './contenders.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    ms: { type: 'string', default: '700' },
    clients: { type: 'string', default: '1,32' },
    only: { type: 'string', default: '' },
    'synchronous-commit': { type: 'string', default: 'on' },
  },
});
const rounds = Number(values.rounds);
const durationMs = Number(values.ms);
const only = values.only.split(',').filter((name) => name !== '');
const contenders = all.filter(({ name }) => only.length === 0 || only.includes(name));

const postgres = await findPostgres();
const server = await postgres.start();
// Off, it shows what the code costs that a commit which waits for the disk hides.
const durability = `synchronous_commit=${values['synchronous-commit']}`;
const url = `${server.url}?options=-c%20${encodeURIComponent(durability)}`;
console.log(`bench local: ${machine()}; ${postgres.about}, ${durability}`);
console.log(`${rounds} rounds of ${durationMs} ms each, the first fifth not counted`);

const admin = new Client({ connectionString: url });
await admin.connect();
await admin.query('create table note (id serial primary key, text text not null)');

for (const clients of values.clients.split(',').map(Number)) {
  const opened = new Map<string, Opened>();
  for (const contender of contenders) {
    opened.set(contender.name, await contender.open({ url, connections: clients }));
  }
  const results = new Map<string, Measured[]>();
  for (let round = 0; round <= rounds; round++) {
    // Each begins once as often as the next one, so that none always follows the same neighbour.
    for (let n = 0; n < contenders.length; n++) {
      const name = contenders[(n + round) % contenders.length]?.name ?? '';
      const once = async (m: number): Promise<void> => void (await opened.get(name)?.once(`note ${m}`));
      const measured = await closedLoop({ inFlight: clients, durationMs, warmUpMs: durationMs / 5 }, once);
      // The first round warms up what a user has warm.
      if (round > 0) results.set(name, [...(results.get(name) ?? []), measured]);
    }
    await admin.query('truncate note');
  }
  for (const one of opened.values()) await one.close();
  console.log(`\n${clients} ${clients === 1 ? 'client' : 'clients'}\n${report(results)}`);
}
await admin.end();
await server.stop();

function report(results: ReadonlyMap<string, readonly Measured[]>): string {
  const rows = contenders.map(({ name, comparedWith }) => {
    const own = results.get(name) ?? [];
    const base = results.get(comparedWith ?? name) ?? [];
    const ratios = own.map(({ perSecond }, round) => perSecond / (base[round]?.perSecond ?? NaN));
    return [
      name,
      whole(median(own.map(({ perSecond }) => perSecond))),
      fixed(median(own.map(({ p50Ms }) => p50Ms)), 3),
      fixed(median(own.map(({ p99Ms }) => p99Ms)), 3),
      comparedWith === undefined ? '' : `${fixed(median(ratios) * 100, 1)} %`,
      comparedWith ?? '',
    ];
  });
  return table([['', 'per second', 'p50 ms', 'p99 ms', 'of', ''], ...rows]);
}
