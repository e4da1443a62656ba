import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));
const readyWithinMs = 30_000;

export interface CoordinatorOptions {
  /** Further flags of `settle serve`. */
  readonly flags?: readonly string[];
}

/** How a start went: it listens, or it is gone (the signal, or the exit code). */
export type Started = { readonly kind: 'ready' } | { readonly kind: 'gone'; readonly how: string };

/** `settle serve` in a process of its own, always at the same address and on the same file, however often it dies. */
export class CoordinatorProcess {
  readonly url: string;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;
  #exited: Promise<string> = Promise.resolve('never started');
  #errors = '';

  private constructor(port: number, store: string, { flags = [] }: CoordinatorOptions) {
    this.url = `http://127.0.0.1:${port}`;
    this.#args = ['serve', '--port', String(port), '--store', store, ...flags];
  }

  /** Not started yet. */
  static async at(store: string, options: CoordinatorOptions = {}): Promise<CoordinatorProcess> {
    return new CoordinatorProcess(await freePort(), store, options);
  }

  static async start(store: string, options: CoordinatorOptions = {}): Promise<CoordinatorProcess> {
    const coordinator = await CoordinatorProcess.at(store, options);
    await coordinator.start();
    return coordinator;
  }

  /** What it said on stderr since it was made. */
  get errors(): string {
    return this.#errors;
  }

  /** Resolves with how the process that was started last ended: a signal, or an exit code. */
  get exited(): Promise<string> {
    return this.#exited;
  }

  async start(): Promise<void> {
    const started = await this.tryToStart();
    if (started.kind === 'gone') throw new Error(`settle serve ended with ${started.how}: ${this.#errors}`);
  }

  async tryToStart(env: Readonly<Record<string, string>> = {}): Promise<Started> {
    const child = spawn(process.execPath, [main, ...this.#args], {
      env: { ...process.env, ...env },
      // By the channel it notices the end of a test run that had no time to end it.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#process = child;
    this.#exited = once(child, 'exit').then(([code, signal]: unknown[]) => String(signal ?? code));
    child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    const ready = Promise.withResolvers<Started>();
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-10_000);
      if (said.includes(' ready ')) ready.resolve({ kind: 'ready' });
    });
    const late = setTimeout(
      () => ready.reject(new Error(`settle serve is not ready: ${this.#errors}`)),
      readyWithinMs,
    );
    try {
      return await Promise.race([
        ready.promise,
        this.#exited.then((how): Started => ({ kind: 'gone', how })),
      ]);
    } finally {
      clearTimeout(late);
    }
  }

  /** SIGSTOP and SIGCONT: it stands still, and does not know. */
  pause(): void {
    this.#process?.kill('SIGSTOP');
  }

  resume(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Resolves, with how it ended, when the process is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<string> {
    this.#process?.kill(signal);
    return this.#exited;
  }

  /** Of its memory what is resident, and how many files and sockets it has open; undefined off Linux. */
  usage(): { readonly rssMb: number; readonly handles: number } | undefined {
    try {
      const status = readFileSync(`/proc/${this.#process?.pid}/status`, 'utf8');
      const kb = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
      return { rssMb: Math.round(kb / 1_024), handles: readdirSync(`/proc/${this.#process?.pid}/fd`).length };
    } catch {
      return undefined;
    }
  }
}

/**
 * A port that stays free until it is taken, and between two starts: below those that systems give to outgoing
 * connections, of which these tests make thousands.
 */
async function freePort(): Promise<number> {
  for (let attempt = 1; attempt <= 100; attempt++) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    if (await canListen(port)) return port;
  }
  throw new Error('no free port from 15000 to 29999');
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server, 'listening').then(
    () => true,
    () => false,
  );
  server.listen(port, '127.0.0.1');
  if (!(await listening)) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}
