/** `npm run soak -- [--kills 100] [--seed 1] [--clients 32] [--within 1000] [--transactions 0]` */
import { parseArgs } from 'node:util';
import { soak } from './soak.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    clients: { type: 'string', default: '32' },
    within: { type: 'string', default: '1000' },
    transactions: { type: 'string', default: '0' },
  },
});
const kills = Number(values.kills);

console.log(`soak: seed ${values.seed}, ${kills} kills`);
const result = await soak({
  seed: Number(values.seed),
  kills,
  clients: Number(values.clients),
  killWithinMs: Number(values.within),
  transactionsMin: Number(values.transactions),
  onProgress: (progress) => {
    if (progress.kills % Math.max(1, Math.floor(kills / 20)) === 0) {
      console.log(
        `${progress.kills}/${kills} kills, ${progress.transactions} transactions, ${progress.rssMb} MB`,
      );
    }
  },
});
console.log(JSON.stringify({ ...result, violations: result.violations.slice(0, 20) }, undefined, 2));
console.log(
  result.violations.length === 0
    ? 'every transfer is all or nothing, once'
    : `${result.violations.length} violations`,
);
process.exitCode = result.violations.length === 0 ? 0 : 1;
