// The programs that were started here. They are ended by the ids we got from starting them, and by no other means.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { remember } from './leftovers.mjs';

const patienceMs = 5_000;
const living = new Set();
let isClosed = false;

/**
 * Starts a program in a process group of its own: a shell script among them is then ended with what it started, and
 * Ctrl-C, which a terminal sends to its whole group, does not take a service from under tests that are still closing.
 */
export function startChild(
  [program, args, env = {}],
  { folder, identity, stopSignal = 'SIGKILL', beforeStop },
) {
  if (isClosed) throw new Error('the services are being stopped');
  const log = `${folder}.log`;
  const output = openSync(log, 'a');
  const child = spawn(program, args, {
    ...identity,
    cwd: folder,
    detached: true,
    stdio: ['ignore', output, output],
    // The programs print their messages as we know them, look for no settings in anybody's home, and write where they may.
    env: { ...process.env, HOME: folder, TMPDIR: folder, LC_ALL: 'C', ...env },
  });
  closeSync(output);
  if (child.pid !== undefined) remember(folder, child.pid);
  const handle = {
    /** What became of it, in words; nothing while it runs. */
    end: /** @type {string | undefined} */ (undefined),
    ended: new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`));
    }).then((words) => {
      living.delete(handle);
      handle.end = words;
      // What it has started, and did not end itself, ends with it.
      if (child.pid !== undefined) send(-child.pid, 'SIGKILL');
      return child.exitCode === 0;
    }),
    async stop() {
      if (handle.end !== undefined || child.pid === undefined) return;
      await beforeStop?.();
      const { pid } = child;
      // A kill goes to the whole group; a request to the program alone, which tells its own children.
      send(stopSignal === 'SIGKILL' ? -pid : pid, stopSignal);
      const timer = setTimeout(() => send(-pid, 'SIGKILL'), patienceMs);
      await handle.ended;
      clearTimeout(timer);
    },
    /** To it and to all it has started; nothing happens once it has ended. */
    signal(signal) {
      if (handle.end === undefined && child.pid !== undefined) send(-child.pid, signal);
    },
    lastWords() {
      const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
      // Where in the code of a Java program it failed would leave no room for why.
      return lines
        .filter((line) => !/^\s+(?:at|\.\.\.) /.test(line))
        .slice(-10)
        .join('\n');
    },
  };
  living.add(handle);
  return handle;
}

/** For the end of everything: whatever runs is ended, and nothing is started afterwards. */
export async function endAllChildren() {
  isClosed = true;
  await Promise.all([...living].map((handle) => handle.stop()));
}

/** To a program alone, or to its whole group where the id is negative. */
function send(id, signal) {
  try {
    process.kill(id, signal);
  } catch (error) {
    // Nobody is left; of a group in which all are dying, macOS says EPERM.
    if (error.code !== 'ESRCH' && error.code !== 'EPERM') throw error;
  }
}
