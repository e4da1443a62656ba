// A socket where test files ask the keeper for services while the run goes on, so that one which no file needs is never
// started. One line of JSON is a question, and the next line back is its answer.
// What a connection has asked for as its own ends with it, also when a test is killed outright.
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Failure } from '../lib/failure.mjs';
import { startOne } from './start.mjs';

/**
 * @typedef {{ verb: 'share' | 'own', name: string } | { verb: 'kill' | 'restart' | 'pause' | 'resume' | 'stop' }} Question
 * @typedef {{ kind: 'done', url?: string } | { kind: 'failed', reason: string }} Answer
 */

/**
 * @param {string} base The folder of the keeper, who ends all that is left in it.
 * @param {(name: string, folder: string) => Promise<import('./running.mjs').Running>} start
 * @returns {Promise<string>} The path of the socket.
 */
export async function answerQuestions(base, start = startOne) {
  const shared = new Map();
  let owned = 0;

  /** Everybody gets the same one, or the same refusal. */
  function share(name) {
    if (!shared.has(name)) shared.set(name, start(name, join(base, name)));
    return shared.get(name);
  }

  async function converse(socket) {
    // Closed by somebody who was killed: the end of the lines tells us as much.
    socket.on('error', () => {});
    const own = new Own(start);
    for await (const line of createInterface({ input: socket })) {
      const { verb, name } = JSON.parse(line);
      const answer = () => {
        if (verb === 'share') return share(name);
        if (verb === 'own') return own.start(name, join(base, `${name}-${++owned}`));
        return own.steer(verb);
      };
      socket.write(`${JSON.stringify(await inWords(answer))}\n`);
    }
    await own.end();
  }

  const path = join(base, 'ask');
  const server = createServer((socket) => void converse(socket)).listen(path);
  await once(server, 'listening');
  return path;
}

/** The service that one connection has for itself. */
class Own {
  #start;
  #folder;
  #service;

  constructor(start) {
    this.#start = start;
  }

  async start(name, folder) {
    this.#folder = folder;
    this.#service = await this.#start(name, folder);
    return this.#service;
  }

  async steer(verb) {
    if (this.#service?.[verb] === undefined) throw new Failure(`there is nothing here to ${verb}`);
    await this.#service[verb]();
  }

  async end() {
    await this.#service?.stop();
    if (this.#folder === undefined) return;
    const options = { recursive: true, force: true, maxRetries: 10, retryDelay: 50 };
    rmSync(this.#folder, options);
    rmSync(`${this.#folder}.log`, options);
  }
}

/** @returns {Promise<Answer>} */
async function inWords(answer) {
  try {
    return { kind: 'done', url: (await answer())?.url };
  } catch (error) {
    return { kind: 'failed', reason: error instanceof Failure ? error.message : error.stack };
  }
}
