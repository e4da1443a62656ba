// What the harness does to a whole run: it fails one that leaks or lacks a service, and leaves nothing running.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { binOf } from '../../scripts/lib/child.mjs';
import { typeStrippingFlags } from '../../scripts/lib/node.mjs';
import { removeLeftovers } from '../../scripts/services/leftovers.mjs';
import { services } from '../../scripts/services/services.mjs';

const fixtures = fileURLToPath(new URL('fixtures', import.meta.url));

describe('a run', () => {
  test('fails when a file leaves a connection open, though its tests pass', async () => {
    const { code, said } = await runFixture('leaking.ts');
    expect(said).toMatch(/Tests +1 passed/);
    expect(said).toMatch(/1 connection to the database settle_leaking_\w+ left open .*: select 42/);
    expect(code).toBe(1);
  });

  test('fails in one line when a service is missing', async () => {
    const { code, said } = await runFixture('leaking.ts', {
      SETTLE_TEST_REDIS: 'redis://127.0.0.1:1',
    });
    expect(said).toMatch(/Redis is needed by the tests, .* unset SETTLE_TEST_REDIS to have one started\.$/m);
    // A stack trace would only lead away from the line.
    expect(said).not.toContain('keep.mjs');
    expect(code).toBe(1);
  });

  test('fails in one line when a broker is missing that a file asks for, and only then', async () => {
    const missing = { SETTLE_TEST_NATS: 'nats://127.0.0.1:1' };
    const { code, said } = await runFixture('asking.ts', missing);
    expect(said).toMatch(/NATS is needed by the tests, .* unset SETTLE_TEST_NATS to have one started\.$/m);
    expect(said).not.toContain('ask.ts');
    expect(code).toBe(1);
    expect((await runFixture('leaking.ts', missing)).said).toMatch(/Tests +1 passed/);
  });
});

describe('what was started', () => {
  let temporary: string;
  beforeEach(() => {
    temporary = mkdtempSync(join(realpathSync(tmpdir()), 'settle-harness-'));
    // As root we start Redis as another user, who has to get through.
    chmodSync(temporary, 0o711);
  });
  afterEach(() => {
    // A test that failed has not come to this, and what still runs would keep vitest from ending.
    for (const child of keeping.splice(0)) child.kill('SIGKILL');
    rmSync(temporary, { recursive: true, force: true, maxRetries: 10 });
  });

  const signals: NodeJS.Signals[] = ['SIGKILL', 'SIGINT', 'SIGTERM'];
  test.each([
    ...signals.map((signal) => ({ name: 'redis', signal }) as const),
    { name: 'postgresReplica', signal: 'SIGKILL' },
    { name: 'mariadbReplica', signal: 'SIGKILL' },
  ] as const)('is ended, and its data removed, after $signal to whoever started $name', async (of) => {
    const { child, url } = await keep(of.name, temporary);
    await services[of.name].probe(url);
    expect(readdirSync(temporary)).toHaveLength(1);
    child.kill(of.signal);
    await vi.waitFor(() => expect(readdirSync(temporary)).toEqual([]), 10_000);
    await expect(services[of.name].probe(url)).rejects.toThrow('ECONNREFUSED');
  });

  // Only Linux tells where a process works, and without that an id from a file is not enough to kill by.
  test.runIf(existsSync('/proc/self/cwd'))(
    'is ended by the next run when even its keeper was killed',
    async () => {
      const { child, url } = await keep('redis', temporary);
      const [folder = ''] = readdirSync(temporary);
      const keeper = Number(/^settle-services-(\d+)-/.exec(folder)?.[1]);
      removeLeftovers(temporary);
      // The keeper lives: this is somebody's run.
      await services.redis.probe(url);

      process.kill(keeper, 'SIGKILL');
      child.kill('SIGKILL');
      await once(child, 'exit');
      await services.redis.probe(url);
      await vi.waitFor(() => {
        removeLeftovers(temporary);
        expect(readdirSync(temporary)).toEqual([]);
      }, 10_000);
      // The next run kills it without waiting, and what is dying may still take a connection and reset it.
      await vi.waitFor(() => expect(services.redis.probe(url)).rejects.toThrow('ECONNREFUSED'), 10_000);
    },
  );
});

test('what others named alike in the temporary folder stays', () => {
  const temporary = mkdtempSync(join(realpathSync(tmpdir()), 'settle-harness-'));
  const names = ['settle-services-of-mine', `settle-services-${process.pid}-abc`];
  for (const name of names) mkdirSync(join(temporary, name));
  removeLeftovers(temporary);
  expect(readdirSync(temporary).toSorted()).toEqual(names.toSorted());
  rmSync(temporary, { recursive: true });
});

/** Runs vitest on a fixture; the services of this run are given to it, so that it starts none. */
function runFixture(
  file: string,
  env: Record<string, string> = {},
): Promise<{ readonly code: number; readonly said: string }> {
  const urls = inject('services');
  const given = {
    SETTLE_TEST_POSTGRES: urls.postgres,
    SETTLE_TEST_MARIADB: urls.mariadb,
    SETTLE_TEST_REDIS: urls.redis,
  };
  const args = [
    ...typeStrippingFlags(),
    binOf('vitest'),
    'run',
    file,
    '--config',
    join(fixtures, 'vitest.config.ts'),
  ];
  const options = { env: { ...process.env, NO_COLOR: '1', ...given, ...env } };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, options, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, said: stdout + stderr });
    });
  });
}

const keeping: ChildProcess[] = [];

async function keep(name: 'redis' | 'postgresReplica' | 'mariadbReplica', temporary: string) {
  // One of its own, which is then the one that has to end.
  const env = { ...process.env, TMPDIR: temporary, [services[name].variable]: '' };
  const child = spawn(process.execPath, [join(fixtures, 'keep-service.mjs'), name], {
    env: { ...env, SETTLE_TEST_POSTGRES: inject('services').postgres },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  keeping.push(child);
  child.stdout.setEncoding('utf8');
  // The end of its output comes first where it could not start.
  const [line] = await Promise.race([once(child.stdout, 'data'), once(child.stdout, 'end')]);
  if (typeof line !== 'string') throw new Error('keep-service.mjs ended early, for the reason it gave above');
  return { child, url: line.trim() };
}
