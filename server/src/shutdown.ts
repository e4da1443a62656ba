/** Signals: the first asks for an orderly stop, the second ends the process at once. */
import { constants } from 'node:os';

const signals = ['SIGINT', 'SIGTERM'] as const;

export interface StopSignal {
  /** Resolves with the name of the first signal. */
  readonly asked: Promise<string>;
  readonly isAsked: () => boolean;
  /** Leaves the signals to their defaults again. */
  release(): void;
}

/** Listens for SIGINT and SIGTERM. The second one exits with 128 + its number, whatever is still under way. */
export function stopSignal(): StopSignal {
  let asked = false;
  const { promise, resolve } = Promise.withResolvers<string>();
  const handler = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(128 + constants.signals[signal]);
    asked = true;
    resolve(signal);
  };
  for (const signal of signals) process.on(signal, handler);
  return {
    asked: promise,
    isAsked: () => asked,
    release: () => signals.forEach((signal) => process.removeListener(signal, handler)),
  };
}

/** Fail fast: a process in a state nobody foresaw is better restarted, and recovers from its store. */
export function dieOnSurprise(report: (what: string, error: unknown) => void, exitCode: number): void {
  const die = (what: string) => (error: unknown) => {
    report(what, error);
    process.exit(exitCode);
  };
  process.on('uncaughtException', die('an exception nobody caught'));
  process.on('unhandledRejection', die('a rejection nobody handled'));
}
