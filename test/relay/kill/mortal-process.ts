import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { typeStrippingFlags } from '../../../scripts/lib/node.mjs';

/** A process of this folder that can be killed, and started again as it was. */
export class MortalProcess {
  readonly #file: string;
  readonly #options: object;
  #child: ChildProcess;
  #errors = '';

  constructor(file: 'relay-process.ts' | 'writer-process.ts', options: object) {
    this.#file = fileURLToPath(new URL(file, import.meta.url));
    this.#options = options;
    this.#child = this.#spawn();
  }

  #spawn(): ChildProcess {
    const child = spawn(
      process.execPath,
      [...typeStrippingFlags(), this.#file, JSON.stringify(this.#options)],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    child.stderr.on('data', (text) => void (this.#errors += String(text)));
    return child;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it said before it ended by itself. */
  get errors(): string {
    return this.#errors;
  }

  /** Resolves once it is dead: by itself, or by what somebody else did. */
  async died(): Promise<void> {
    if (this.isAlive) await once(this.#child, 'exit');
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.died();
  }

  /** The next life of it. */
  restart(): void {
    this.#child = this.#spawn();
  }
}
