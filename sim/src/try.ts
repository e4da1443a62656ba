import { checkers } from './checkers/index.ts';
import { runSeed } from './run.ts';
const [from = '1', count = '1'] = process.argv.slice(2);
const t0 = performance.now();
let events = 0,
  tx = 0;
const status: Record<string, number> = {};
const met = new Set<string>();
for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
  const r = await runSeed({ seed }, { checkers });
  process.stderr.write(seed + ' ' + r.events + '\n');
  events += r.events;
  tx += r.history.final.rows.length;
  for (const row of r.history.final.rows) status[row.status] = (status[row.status] ?? 0) + 1;
  for (const m of r.met) met.add(m);
  if (r.violations.length)
    console.log(seed, [...r.scenario.faults.keys()].join(','), r.violations.slice(0, 3));
}
const s = (performance.now() - t0) / 1000;
console.log({ seconds: s, events, perSecond: events / s, perSeedMs: (s * 1000) / Number(count), tx, status });
console.log([...met].sort().join('\n'));
