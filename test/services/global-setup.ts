// Runs once, before the first test file of the project `services` and after its last.
import type { TestProject } from 'vitest/node';
import { keepServices } from '../../scripts/services/keep.mjs';

export default async function startServices(project: TestProject): Promise<() => Promise<void>> {
  const { urls, stop } = await keepServices(['postgres', 'mariadb', 'redis']);
  project.provide('services', urls);
  return stop;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** The URL of each service, of a user who may create databases. */
    readonly services: { readonly postgres: string; readonly mariadb: string; readonly redis: string };
  }
}
