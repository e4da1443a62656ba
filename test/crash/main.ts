/**
 * `npm run soak -- [--kills 100] [--seed 1] [--clients 64] [--within 800] [--transactions 0]`
 *
 * Kills the coordinator `--kills` times, each at a random moment within `--within` milliseconds of its being ready, while
 * `--clients` transfer money; goes on until `--transactions` were submitted; then judges. Exits 1 if a promise was broken.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { soak, type Progress } from './soak.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    clients: { type: 'string', default: '64' },
    within: { type: 'string', default: '800' },
    transactions: { type: 'string', default: '0' },
  },
});
const kills = whole('kills', values.kills);
const every = Math.max(1, Math.floor(kills / 20));

console.log(
  `soak: seed ${values.seed}, ${kills} kills, node ${process.version}, ${availableParallelism()} cores`,
);
const { progress, violations, ...result } = await soak({
  seed: whole('seed', values.seed),
  kills,
  clients: whole('clients', values.clients),
  killWithinMs: whole('within', values.within),
  transactionsMin: whole('transactions', values.transactions),
  onProgress: ({ kills: n, transactions, rssMb, handles }) => {
    if (n % every === 0)
      console.log(
        `${n}/${kills} kills, ${transactions} transactions, coordinator ${rssMb} MB, ${handles} handles`,
      );
  },
});
console.log(JSON.stringify(result, undefined, 2));
console.log(
  `memory of the coordinator when killed: ${range(progress, 'rssMb')} MB; open files and sockets: ${range(progress, 'handles')}`,
);
for (const violation of violations.slice(0, 20)) console.log(violation);
console.log(
  violations.length === 0
    ? `0 lost acknowledgements, 0 doubled effects, money exact: ${result.acknowledged} acknowledged, ${result.kills} kills`
    : `${violations.length} violations`,
);
process.exitCode = violations.length === 0 ? 0 : 1;

/** The median of each fifth of the run, which shows a trend where there is one. */
function range(progress: readonly Progress[], what: 'rssMb' | 'handles'): string {
  const size = Math.max(1, Math.floor(progress.length / 5));
  const medians: number[] = [];
  for (let from = 0; from + size <= progress.length; from += size) {
    const part = progress.slice(from, from + size).map((one) => one[what]);
    medians.push(part.toSorted((a, b) => a - b)[size >> 1] ?? 0);
  }
  return medians.join(', ');
}

function whole(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  console.error(`--${name} ${text} is not a whole number`);
  process.exit(2);
}
