/** Foreign programs (a database, a server) that do not outlive the bench, whichever way it ends. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { startModule } from './child.ts';

export interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Its folder, for data and for what it prints; removed when it has ended. */
  readonly folder: string;
  /** The signal that ends it. */
  readonly stopSignal: NodeJS.Signals;
  /** The user it runs as; default: ours. */
  readonly uid?: number;
  readonly gid?: number;
}

export interface Running {
  /** Waits until `attempt` no longer throws; rejects when the program ends first or after `timeoutMs`. */
  ready(attempt: () => Promise<unknown>, timeoutMs?: number): Promise<void>;
  /** Resolves when it has ended and its folder is gone. */
  stop(): Promise<void>;
}

const attemptEveryMs = 50;

/** Starts a program under a keeper process of its own, which ends it when told to or when this process is gone. */
export async function startProgram(program: Program): Promise<Running> {
  const keeper = await startModule(new URL('keeper.ts', import.meta.url), [JSON.stringify(program)]);
  const ended = once(keeper.process, 'exit').then(() => {
    throw new Error(`${program.file} ended before it was ready`);
  });
  ended.catch(() => undefined);
  return {
    ready: (attempt, timeoutMs = 30_000) => Promise.race([repeat(attempt, timeoutMs, program.file), ended]),
    stop: () => keeper.stop(),
  };
}

async function repeat(attempt: () => Promise<unknown>, timeoutMs: number, file: string): Promise<void> {
  const untilMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (cause) {
      if (performance.now() > untilMs) throw new Error(`${file} was not ready in ${timeoutMs} ms`, { cause });
      await sleep(attemptEveryMs);
    }
  }
}
