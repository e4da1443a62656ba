import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));
const readyWithinMs = 30_000;

/** `settle serve` in a process of its own, always at the same address and on the same file, however often it dies. */
export class CoordinatorProcess {
  readonly url: string;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;
  #errors = '';

  private constructor(port: number, store: string, more: readonly string[]) {
    this.url = `http://127.0.0.1:${port}`;
    this.#args = ['serve', '--port', String(port), '--store', store, ...more];
  }

  static async start(store: string, more: readonly string[] = []): Promise<CoordinatorProcess> {
    const coordinator = new CoordinatorProcess(await freePort(), store, more);
    await coordinator.start();
    return coordinator;
  }

  /** What it said on stderr since it was made. */
  get errors(): string {
    return this.#errors;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [main, ...this.#args], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#process = child;
    const untilMs = performance.now() + readyWithinMs;
    while (!(await isReady(this.url))) {
      if (child.exitCode !== null) throw new Error(`settle serve ended with ${child.exitCode}: ${this.#errors}`);
      if (performance.now() > untilMs) throw new Error(`settle serve is not ready: ${this.#errors}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Resolves when the process is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

async function isReady(url: string): Promise<boolean> {
  return fetch(`${url}/health/ready`).then(
    async (response) => {
      await response.body?.cancel();
      return response.ok;
    },
    () => false,
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
