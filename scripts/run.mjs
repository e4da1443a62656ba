// Runs one task of this repository under a suitable Node: `node scripts/run.mjs <task> [arguments]`.
import { main } from './lib/failure.mjs';
import { underSuitableNode } from './lib/node.mjs';
import { runTask } from './lib/tasks.mjs';

await main(async () => {
  const [task, ...args] = await underSuitableNode();
  return runTask(task, args);
});
