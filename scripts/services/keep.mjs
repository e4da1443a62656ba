// Starts services for as long as this process lives, however it ends.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Failure } from '../lib/failure.mjs';
import { typeStrippingFlags } from '../lib/node.mjs';

/** Longer than the keeper waits for a single service. */
const patienceMs = 10_000;
const keeper = fileURLToPath(new URL('keeper.mjs', import.meta.url));

/**
 * @template {string} Name
 * @param {Name[]} names Keys of `services`.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ urls: Record<Name, string>, ask: string, stop: () => Promise<void> }>} The path of a socket where
 *   more can be asked for (ask.mjs).
 */
export async function keepServices(names, env = process.env) {
  const child = spawn(process.execPath, [...typeStrippingFlags(), keeper, ...names], {
    env,
    // Ctrl-C reaches the tests, which then let go of the keeper; it must not hear of it before them.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const message = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('error', reject);
    child.once('exit', (code) =>
      resolve({ failure: `the keeper of the services ended with exit code ${code}` }),
    );
  });
  if ('failure' in message) {
    await exited;
    throw new Failure(message.failure);
  }
  return {
    urls: message.urls,
    ask: message.ask,
    async stop() {
      if (child.connected) child.disconnect();
      // What it leaves when it has to be killed, the next run removes.
      const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
      await exited;
      clearTimeout(timer);
    },
  };
}
