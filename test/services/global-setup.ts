// Runs once, before the first test file of the project `services` and after its last.
import type { TestProject } from 'vitest/node';
import { Failure } from '../../scripts/lib/failure.mjs';
import { keepServices } from '../../scripts/services/keep.mjs';

export default async function startServices(project: TestProject): Promise<() => Promise<void>> {
  const { urls, ask, stop } = await keepServices(['postgres', 'mariadb', 'redis']).catch(withoutStack);
  project.provide('services', urls);
  project.provide('askServices', ask);
  return stop;
}

/** What to do stands in the message; where in our scripts it arose helps nobody. */
function withoutStack(error: unknown): never {
  if (error instanceof Failure) error.stack = `${error.name}: ${error.message}`;
  throw error;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** The URL of each service, of a user who may create databases. */
    readonly services: { readonly postgres: string; readonly mariadb: string; readonly redis: string };
    /** The path of a socket where brokers can be asked for: the first file that needs one has it started. */
    readonly askServices: string;
  }
}
