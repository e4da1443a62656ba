/**
 * bench/local-cases: what twelve things that happen to local transactions come to, with us and with others. Every verdict
 * is computed from the rows that are stored in a real PostgreSQL afterwards and from what the caller was told.
 *
 *   npm run bench -- local-cases [--peers pg,knex] [--cases 3,6] [--lanes 4]
 *
 * A case that does not end is waited for a minute and more, so all of it takes some minutes. Lanes run side by side.
 */
import { parseArgs } from 'node:util';
import { findPostgres } from '../harness/postgres.ts';
import { machine } from '../harness/report.ts';
import { cases } from './cases.ts';
import { createNoteDatabase } from './database.ts';
import { type Cell, detailsOf, tableOf } from './report.ts';
import { peerCalled, peerNames } from './peers.ts';
import { runCell } from './run-cell.ts';

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: peerNames.join() },
    cases: { type: 'string', default: cases.map((_, i) => i + 1).join() },
    lanes: { type: 'string', default: '4' },
  },
});
const names = values.peers.split(',');
const numbers = values.cases.split(',').map(Number);
const unknown = [
  ...names.filter((name) => !peerNames.includes(name)),
  ...numbers.filter((number) => cases[number - 1] === undefined),
];
if (unknown.length > 0)
  throw new Error(
    `no ${unknown.join(', ')}; there are ${peerNames.join(', ')} and the cases 1 to ${cases.length}`,
  );

const postgres = await findPostgres();
console.log(`bench local-cases: ${machine()}; ${postgres.about}\n`);
const server = await postgres.start();
try {
  const cells = await inLanes(Number(values.lanes), server.url);
  console.log(`\n${tableOf(cells, { names, numbers })}\n\n${detailsOf(cells, { names, numbers })}\n`);
  // Loaded last: some of them change others as soon as they are.
  for (const name of names) console.log(`${name}: ${(await peerCalled(name)).about}`);
} finally {
  await server.stop();
}
// Some of the peers keep a process alive.
process.exit();

/** A lane has a database of its own, and takes one case after the other. The longest come first. */
async function inLanes(lanes: number, serverUrl: string): Promise<readonly Cell[]> {
  const orders = numbers
    .toSorted((a, b) => (cases[b - 1]?.limitMs ?? 0) - (cases[a - 1]?.limitMs ?? 0))
    .flatMap((number) => names.map((name) => ({ name, number })));
  const total = orders.length;
  const cells: Cell[] = [];
  const lane = async () => {
    const database = await createNoteDatabase(serverUrl);
    for (let order = orders.shift(); order !== undefined; order = orders.shift()) {
      await database.clear();
      const { name, number } = order;
      const verdict = await runCell({ peer: name, case: number, url: database.url });
      cells.push({ name, number, verdict });
      console.log(`${cells.length}/${total}  ${number} ${name}: ${verdict.kind}`);
    }
    await database.clear();
    await database.drop();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return cells;
}
