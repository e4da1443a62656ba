import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Measured } from './load.ts';

/** A process of the bench that told where it listens. */
export interface Child {
  readonly url: string;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

/** Starts a module in a process of its own and waits until it sends `{ url }`. */
export async function startModule(module: URL, args: readonly string[]): Promise<Child> {
  const child = fork(fileURLToPath(module), [...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${module.pathname} ended with ${code} before it was ready`);
  });
  const [message] = (await Promise.race([once(child, 'message'), failed])) as [{ url: string }];
  return { url: message.url, process: child, stop: () => stop(child) };
}

/** Runs a module that measures, in a process of its own, and gives back what it sends. */
export async function measureIn(module: URL, args: readonly (string | number)[]): Promise<Measured> {
  const child = fork(fileURLToPath(module), args.map(String));
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${basename(module.pathname)} ended with ${code} before it had measured`);
  });
  failed.catch(() => undefined);
  const [measured] = (await Promise.race([once(child, 'message'), failed])) as [Measured];
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return measured;
}

/** In the module that measures: sends the result and ends; ends without a word when the parent is gone first. */
export async function answer(
  measuring: Promise<Measured>,
  cleanUp: () => Promise<void> = () => Promise.resolve(),
): Promise<never> {
  // Ctrl-C in a terminal reaches us too, but it is the parent's end that counts.
  process.on('SIGINT', () => undefined);
  const gone = new Promise<undefined>((resolve) => process.once('disconnect', () => resolve(undefined)));
  // What the parent's end takes from us may be noticed before that end itself.
  const failed = measuring.catch(async (error: unknown) => {
    await Promise.race([gone, sleep(200)]);
    if (process.connected) throw error;
    return undefined;
  });
  let measured: Measured | undefined;
  try {
    measured = await Promise.race([failed, gone]);
  } finally {
    await cleanUp();
  }
  if (measured !== undefined) await new Promise((sent) => process.send?.(measured, sent));
  process.exit(measured === undefined ? 1 : 0);
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** Tells the parent where this process listens, and ends with it. */
export function ready(url: string): void {
  process.send?.({ url });
  process.on('SIGTERM', () => process.exit(0));
  process.on('disconnect', () => process.exit(0));
}
