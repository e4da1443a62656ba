// Asks the keeper of this run for services, over the socket of scripts/services/ask.mjs.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { inject } from 'vitest';
import type { Answer, Question } from '../../scripts/services/ask.mjs';

/** Where nothing is installed yet, packages or jars are fetched first. */
export const askMs = 300_000;

/** One connection to the keeper. What was asked for as one's own ends with it. */
export class Line {
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<string, undefined>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#answers = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async open(path = inject('askServices')): Promise<Line> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Line(socket);
  }

  /** The URL, where the answer has one; throws with the keeper's reason when it could not be done. */
  async ask(question: Question): Promise<string | undefined> {
    this.#socket.write(`${JSON.stringify(question)}\n`);
    const { value: line } = await this.#answers.next();
    if (line === undefined) throw new Error('the keeper of the services is gone');
    const answer = JSON.parse(line) as Answer;
    if (answer.kind === 'failed') throw asLine(answer.reason);
    return answer.url;
  }

  async askForUrl(question: Question): Promise<string> {
    const url = await this.ask(question);
    if (url === undefined) throw new Error(`no URL for ${JSON.stringify(question)}`);
    return url;
  }

  close(): void {
    this.#socket.end();
  }
}

/** What to do stands in the message; where it was asked helps nobody. */
function asLine(reason: string): Error {
  const error = new Error(reason);
  error.stack = `${error.name}: ${reason}`;
  return error;
}
