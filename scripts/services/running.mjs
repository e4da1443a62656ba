// A program that was started here and answers at its URL. Owns the wait until it does, and what tests may do to it then:
// end it as a crash would, start it again on the same data and port, and hold it still.
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../lib/failure.mjs';

const pollMs = 20;

/**
 * @typedef {object} Running
 * @property {string} url
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} Steering
 * @property {() => Promise<void>} kill Ends it at once (SIGKILL) and returns when it is gone; its data stays.
 * @property {() => Promise<void>} restart Starts it again, killed or not, and returns when it answers.
 * @property {() => void} pause It keeps its connections, and neither reads nor answers (SIGSTOP).
 * @property {() => void} resume
 */

/**
 * Throws a Failure with its last words when it ends before it answers, or does not answer in time.
 * @param {import('./services.mjs').Service} service
 * @param {{ begin: () => Promise<ReturnType<typeof import('./children.mjs').startChild>>, port: number, waitMs: number }} how
 * @returns {Promise<Running & Steering>}
 */
export async function run(service, { begin, port, waitMs }) {
  const url = service.url(port);
  let child = await begin();
  await untilReady(service, { child, url, waitMs });

  let isPaused = false;

  async function kill() {
    if (child.end === undefined && !isPaused) await service.beforeKill?.(url);
    child.signal('SIGKILL');
    await child.ended;
    isPaused = false;
  }

  return {
    url,
    stop: () => child.stop(),
    kill,
    async restart() {
      await kill();
      child = await begin();
      await untilReady(service, { child, url, waitMs });
    },
    pause() {
      child.signal('SIGSTOP');
      isPaused = true;
    },
    resume() {
      child.signal('SIGCONT');
      isPaused = false;
    },
  };
}

async function untilReady(service, { child, url, waitMs }) {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const refusal = await service.probe(url).then(
      () => undefined,
      (error) => error.message || error.code,
    );
    // Another process may answer at our port while ours could not take it.
    if (child.end !== undefined) throw new Failure(`${child.end}\n${child.lastWords()}`);
    if (refusal === undefined) return;
    if (performance.now() > deadline) {
      await child.stop();
      throw new Failure(`it did not answer within ${waitMs / 1_000} s: ${refusal}\n${child.lastWords()}`);
    }
    await sleep(pollMs);
  }
}
