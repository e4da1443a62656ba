import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, type Settle } from 'settle';
import { runSettle, startSettle, type SettleProcess } from './settle-process.ts';

let dir = '';
const running: SettleProcess[] = [];
const closing: (() => Promise<void> | void)[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'settle-serve-'));
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  for (const { child, exit } of running.splice(0)) {
    child.kill('SIGKILL');
    await exit;
  }
  rmSync(dir, { recursive: true, force: true });
});

interface Serving {
  readonly settle: SettleProcess;
  readonly url: string;
  readonly client: Settle;
}

async function serve(...args: readonly string[]): Promise<Serving> {
  const settle = startSettle([
    'serve',
    '--port=0',
    '--lease-ms=600',
    `--store=${join(dir, 'settle.db')}`,
    ...args,
  ]);
  running.push(settle);
  const url = (await settle.until(/ready url=(\S+)/))[1] ?? '';
  const client = connect(url);
  closing.push(() => client.close());
  return { settle, url, client };
}

/** A participant that answers each call when it is told to. */
async function participant(
  answer: (path: string) => Promise<number>,
): Promise<{ readonly url: string; readonly calls: string[] }> {
  const calls: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    calls.push(path);
    request.resume();
    void answer(path).then((status) => response.writeHead(status).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return { url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`, calls };
}

describe('settle serve', () => {
  it('runs a saga, stops in order at SIGTERM, and still knows it after a restart', async () => {
    const { url } = await participant(async () => 204);
    const first = await serve();
    const outcome = await first.client
      .saga('test')
      .step('a', { action: `${url}/a` })
      .submit({ gid: 'saga-1', waitMs: 5_000 });
    expect(outcome.status).toBe('committed');
    first.settle.child.kill('SIGTERM');
    expect(await first.settle.exit).toBe(0);
    expect(first.settle.output.stdout).toMatch(/stopping reason=SIGTERM[^]*stopped/);
    const second = await serve();
    expect((await second.client.get('saga-1')).status).toBe('committed');
  });

  it('drains at SIGTERM: a call under way is finished and recorded, and its waiting client answered', async () => {
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const { url, calls } = await participant(async () => {
      asked.resolve();
      await go.promise;
      return 204;
    });
    const { settle, client } = await serve();
    const outcome = client
      .saga('test')
      .step('a', { action: `${url}/a` })
      .submit({ gid: 'saga-1', waitMs: 5_000 });
    await asked.promise;
    settle.child.kill('SIGTERM');
    await settle.until(/stopping/);
    go.resolve();
    expect((await outcome).status).toBe('committed');
    expect(await settle.exit).toBe(0);
    expect(calls).toEqual(['/a']);
  });

  it('ends at once at the second signal, and loses nothing', async () => {
    const asked = Promise.withResolvers<void>();
    let answers: Promise<number> = new Promise(() => {});
    const { url } = await participant(() => {
      asked.resolve();
      return answers;
    });
    const first = await serve();
    await first.client
      .saga('test')
      .step('a', { action: `${url}/a` })
      .submit({ gid: 'saga-1' });
    await asked.promise;
    first.settle.child.kill('SIGTERM');
    await first.settle.until(/stopping/);
    first.settle.child.kill('SIGTERM');
    expect(await first.settle.exit).toBe(143);
    answers = Promise.resolve(204);
    const second = await serve();
    expect((await second.client.get('saga-1', { waitMs: 10_000 })).status).toBe('committed');
  });

  it('goes on after SIGKILL with what it had acknowledged', async () => {
    let status = 503;
    const { url } = await participant(async () => status);
    const first = await serve();
    await first.client
      .saga('test')
      .step('a', { action: `${url}/a` })
      .submit({ gid: 'saga-1' });
    first.settle.child.kill('SIGKILL');
    expect(await first.settle.exit).toBe('SIGKILL');
    status = 204;
    const second = await serve();
    expect((await second.client.get('saga-1', { waitMs: 10_000 })).status).toBe('committed');
  });

  it('goes on when nobody reads its log any more', async () => {
    const { settle, url } = await serve('--log-level=debug');
    settle.child.stdout?.destroy();
    settle.child.stderr?.destroy();
    const client = connect(url);
    closing.push(() => client.close());
    const { url: service } = await participant(() => Promise.resolve(200));
    for (let n = 0; n < 3; n++) {
      const outcome = await client
        .saga('order')
        .step('pay', { action: `${service}/pay` })
        .submit({ waitMs: 5_000 });
      expect(outcome.status).toBe('committed');
    }
    expect(settle.child.exitCode).toBe(null);
    settle.child.kill('SIGTERM');
    expect(await settle.exit).toBe(0);
  });

  it('logs one JSON object per line with --json', async () => {
    const settle = startSettle(['serve', '--json', '--port=0', '--store=memory']);
    running.push(settle);
    await settle.until(/"event":"ready"/);
    settle.child.kill('SIGINT');
    expect(await settle.exit).toBe(0);
    const events = settle.output.stdout
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(events).toMatchObject([
      { event: 'starting' },
      { event: 'ready' },
      { event: 'stopping', reason: 'SIGINT' },
      { event: 'stopped' },
    ]);
  });

  it('asks for its API key, and refuses strangers', async () => {
    const key = 'ops:0123456789abcdef';
    const { url } = await serve(`--api-keys=${key}`);
    const response = await fetch(`${url}/v1/transactions`);
    expect(response.status).toBe(401);
    const client = connect(url, { apiKey: '0123456789abcdef' });
    closing.push(() => client.close());
    expect((await client.page()).items).toEqual([]);
  });
});

/** What is said on stderr, which is one line, besides Node 22's two on its experimental SQLite. */
function oneLine(stderr: string): string {
  const lines = stderr.trim().split('\n');
  const ours = lines.filter((line) => !/ExperimentalWarning: SQLite|--trace-warnings/.test(line));
  expect(ours).toHaveLength(1);
  return stderr;
}

describe('a start that cannot be', () => {
  it('for a flag that does not exist: 2, with the nearest name', async () => {
    const { code, stderr } = await runSettle(['serve', '--prot', '1']);
    expect(code).toBe(2);
    expect(oneLine(stderr)).toContain('config_invalid: --prot is not an option. Did you mean --port?');
  });

  it('for all addresses without a key: 2', async () => {
    const { code, stderr } = await runSettle(['serve', '--host', '0.0.0.0', '--store', 'memory']);
    expect(code).toBe(2);
    expect(oneLine(stderr)).toContain('config_invalid: the host 0.0.0.0 is not loopback');
  });

  it('for a port that is taken: 3', async () => {
    const { url } = await participant(async () => 204);
    const { code, stderr } = await runSettle(['serve', '--port', new URL(url).port, '--store', 'memory']);
    expect(code).toBe(3);
    expect(oneLine(stderr)).toMatch(/port_taken: .* --port/);
  });

  it('for a store that another one holds: 4', async () => {
    await serve();
    const { code, stderr } = await runSettle(['serve', '--port=0', `--store=${join(dir, 'settle.db')}`]);
    expect(code).toBe(4);
    expect(oneLine(stderr)).toContain('store_locked');
  });

  it('for a store of another cluster: 4', async () => {
    const store = `--store=${join(dir, 'settle.db')}`;
    const { settle } = await serve();
    settle.child.kill('SIGTERM');
    await settle.exit;
    const { code, stderr } = await runSettle(['serve', '--port=0', '--cluster=staging', store]);
    expect(code).toBe(4);
    expect(oneLine(stderr)).toContain('cluster_mismatch: the store belongs to the cluster settle');
  });

  it('for a file that is no store: 4', async () => {
    const file = join(dir, 'notes.txt');
    writeFileSync(file, 'this is not a database, however long it goes on. '.repeat(100));
    const { code, stderr } = await runSettle(['serve', '--port=0', `--store=${file}`]);
    expect(code).toBe(4);
    expect(oneLine(stderr)).toContain('store_corrupt');
  });
});

describe('the command', () => {
  it('explains itself, and each of its commands', async () => {
    const { code, stdout } = await runSettle(['--help']);
    expect(code).toBe(0);
    for (const command of ['serve', 'dev', 'config']) {
      expect(stdout).toContain(command);
      const help = await runSettle([command, '--help']);
      expect(help.code).toBe(0);
      expect(help.stdout).toContain('--port');
    }
  });

  it('prints its version', async () => {
    const { code, stdout } = await runSettle(['--version']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('names the nearest command', async () => {
    const { code, stderr } = await runSettle(['srve']);
    expect(code).toBe(2);
    expect(stderr).toContain('srve is not a command. Did you mean serve?');
  });
});
