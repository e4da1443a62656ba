/**
 * bench/outbox: what the outbox and its relay cost and reach. One workload, or all of them one after the other.
 *
 *   npm run bench -- outbox [drain | brokers | wake | writers] [options of that workload]
 */
import { brokers } from './brokers.ts';
import { drain } from './drain.ts';
import { wake } from './wake.ts';
import { writers } from './writers.ts';

const workloads = new Map(
  Object.entries({ drain, brokers, wake, writers } satisfies Record<
    string,
    (args: readonly string[]) => Promise<unknown>
  >),
);

const [name, ...args] = process.argv.slice(2);
if (name === undefined) {
  for (const workload of workloads.values()) await workload([]);
} else {
  const workload = workloads.get(name);
  if (workload === undefined)
    throw new Error(`no workload ${name}; there are ${[...workloads.keys()].join(', ')}`);
  await workload(args);
}
