// A process that holds the services of one test run. It ends them, and removes their data, as soon as the process that
// started it closes the channel between them, which the operating system does also for one that was killed outright.
import { Failure } from '../lib/failure.mjs';
import { answerQuestions } from './ask.mjs';
import { endAllChildren } from './children.mjs';
import { makeBase, removeBase, removeLeftovers } from './leftovers.mjs';
import { startAll } from './start.mjs';

removeLeftovers();
const base = makeBase();
/** @type {Promise<void> | undefined} */
let closing;

process.once('disconnect', () => void close());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => void close());
// The terminal or the pipe that we share with the killed process may be gone.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

try {
  tell({ urls: await startAll(process.argv.slice(2), base), ask: await answerQuestions(base) });
} catch (error) {
  // While closing, nothing can be started any more, and that is no news.
  if (process.connected) tell({ failure: error instanceof Failure ? error.message : error.stack });
  await close();
}

function tell(message) {
  // It may be gone by now, which 'disconnect' tells us.
  process.send?.(message, () => {});
}

function close() {
  closing ??= endAllChildren().finally(() => {
    removeBase(base);
    process.exit();
  });
  return closing;
}
