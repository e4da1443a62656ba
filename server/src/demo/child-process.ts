/** One child of the demo: started, killed without warning, started again, and never left behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../message-of.ts';

export interface ChildOptions {
  readonly name: string;
  /** Relative to this folder, without its ending: the sources and the build have different ones. */
  readonly script: string;
  readonly args: readonly string[];
  /** Resolves once the child serves. Somebody has to read its stdout. */
  readonly untilReady: (child: ChildProcess) => Promise<void>;
  /** The child ended although nobody asked it to. */
  readonly onSurprise: (error: Error) => void;
  /** Milliseconds it has to start. Default 15,000. */
  readonly startMs?: number;
}

const startMsDefault = 15_000;
/** Milliseconds a child has to stop once it was asked to. */
const stopMs = 20_000;

export class Child {
  readonly #options: ChildOptions;
  #process: ChildProcess | undefined;
  #expectsEnd = false;
  #stderr = '';

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { script, args, untilReady, name, startMs = startMsDefault } = this.#options;
    const ending = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    const file = fileURLToPath(new URL(`${script}${ending}`, import.meta.url));
    this.#expectsEnd = false;
    this.#stderr = '';
    // In a group of its own it does not hear the terminal's Ctrl-C: we stop it in our own order.
    const child = spawn(process.execPath, [...process.execArgv, file, ...args], {
      env: { ...ownEnvironment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    });
    this.#process = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4_000);
    });
    const ended = new Promise<never>((_, reject) => {
      const end = (how: string): void => {
        const error = new Error(`${name} ended ${how}: ${this.#stderr.trim() || 'it said nothing'}`);
        reject(error);
        if (!this.#expectsEnd && this.#process === child) this.#options.onSurprise(error);
      };
      child.once('exit', (code, signal) => end(signal === null ? `with exit code ${code}` : `by ${signal}`));
      child.once('error', (error) => end(messageOf(error)));
    });
    ended.catch(() => {});
    await within(
      Promise.race([untilReady(child), ended]),
      startMs,
      `${name} did not start within ${startMs} ms`,
    );
  }

  /** SIGKILL: no goodbye, no last write. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#expectsEnd = true;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
    });
    child.kill(signal);
    const forced = setTimeout(() => child.kill('SIGKILL'), stopMs);
    await ended;
    clearTimeout(forced);
  }
}

/** What the user configured for a coordinator of theirs is not meant for ours. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SETTLE_')));
}

async function within<T>(promise: Promise<T>, ms: number, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(otherwise)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
