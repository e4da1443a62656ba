import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { typeStrippingFlags } from './scripts/lib/node.mjs';

/** Worker threads and child processes of a test run the TypeScript sources directly. */
const execArgv = typeStrippingFlags();

/** Searches and property tests are bound by the processor alone, and a busy machine is no reason to fail them. */
const testTimeout = 60_000;

/** They need databases or brokers, which only the project of that name starts. */
const needingServices = '**/*.services.test.ts';
const notOurs = ['**/node_modules/**', '**/dist/**'];

export default defineConfig({
  test: {
    coverage: {
      provider: 'v8',
      include: ['lib/src/core/**/*.ts'],
      exclude: ['**/*.test.ts'],
      reporter: ['text'],
      reportsDirectory: '.cache/coverage',
      // The protocols are tables of given events, when, then: no branch of them goes unvisited.
      thresholds: { perFile: true, branches: 100 },
    },
    projects: [
      {
        test: {
          name: 'core',
          include: ['lib/src/core/**/*.test.ts'],
          exclude: [needingServices],
          testTimeout,
          execArgv,
        },
      },
      {
        // lib and server from their sources, many files at once.
        resolve: { alias: sourcesOfSettle() },
        test: {
          name: 'unit',
          include: ['lib/src/**/*.test.ts', 'server/src/**/*.test.ts', 'sim/src/**/*.test.ts'],
          exclude: ['lib/src/core/**', needingServices],
          testTimeout,
          execArgv,
        },
      },
      {
        // The whole repository and the built packages, as a user meets them; one file after the other, because these
        // start processes and measure time.
        test: {
          name: 'system',
          include: ['test/**/*.test.ts', 'bench/**/*.test.ts', 'examples/**/*.test.ts'],
          exclude: [...notOurs, needingServices],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          execArgv,
        },
      },
      {
        // Real servers, started once for the run; every file has databases of its own in them (test/services/).
        resolve: { alias: sourcesOfSettle() },
        test: {
          name: 'services',
          include: [needingServices],
          exclude: notOurs,
          globalSetup: ['test/services/global-setup.ts'],
          testTimeout,
          // Where nothing is installed yet, whoever asks first for a broker waits for its packages.
          hookTimeout: 180_000,
          execArgv,
        },
      },
    ],
  },
});

/** Points every public subpath at the source behind it, so that tests of the server never meet an old build. */
function sourcesOfSettle() {
  const manifest = JSON.parse(readFileSync(new URL('lib/package.json', import.meta.url), 'utf8')) as {
    exports: Record<string, string | { default: string }>;
  };
  return Object.entries(manifest.exports).flatMap(([subpath, entry]) => {
    if (typeof entry === 'string') return [];
    const source = entry.default.replace('./dist/', 'lib/src/').replace(/\.js$/, '.ts');
    const find = new RegExp(`^settle${subpath.slice(1)}$`);
    return [{ find, replacement: new URL(source, import.meta.url).pathname }];
  });
}
