/**
 * bench/restart: a coordinator with 10,000 sagas in flight is killed with SIGKILL and started again. How long until
 * the first call leaves, and until all are settled?
 *
 *   npm run bench -- restart [--sagas 10000]
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { startModule } from '../harness/child.ts';
import { machine, table, fixed, whole } from '../harness/report.ts';
import { startServe } from '../harness/serve.ts';

const { values } = parseArgs({ options: { sagas: { type: 'string', default: '10000' } } });
const sagas = Number(values.sagas);
const limitMs = 120_000;

const folder = mkdtempSync(join(tmpdir(), 'settle-bench-'));
const path = join(folder, 'settle.db');
const participants = await startModule(new URL('participants.ts', import.meta.url), []);
const step = (name: string): object => ({ name, action: { url: `${participants.url}/${name}` } });
const definition = {
  pattern: 'saga',
  name: 'restart',
  callTimeoutMs: 60_000,
  steps: [step('reserve'), step('charge')],
};

console.log(`bench restart: ${machine()}; ${whole(sagas)} sagas in flight`);
const before = await startServe(path);
await submitAll(before.url);
before.process.kill('SIGKILL');
await once(before.process, 'exit');

await new Pool(participants.url).request({ path: '/answer', method: 'POST' });
const startedAtMs = Date.now();
const firstCall = once(participants.process, 'message') as Promise<[{ firstCallAtMs: number }]>;
const after = await startServe(path);
const readyMs = Date.now() - startedAtMs;
const [{ firstCallAtMs }] = await firstCall;
const settledMs = await untilSettled(after.url);
await after.stop();
await participants.stop();
rmSync(folder, { recursive: true });

console.log(
  table([
    ['from the start of the process to', 'seconds'],
    ['ready for requests', fixed(readyMs / 1_000)],
    ['the first recovered call', fixed((firstCallAtMs - startedAtMs) / 1_000)],
    ['all settled', fixed(settledMs / 1_000)],
  ]),
);

async function submitAll(url: string): Promise<void> {
  const pool = new Pool(url, { connections: 64 });
  let n = 0;
  const loop = async (): Promise<void> => {
    while (n < sagas) {
      const body = JSON.stringify({ gid: `restart-${n++}`, ...definition });
      const headers = { 'content-type': 'application/json' };
      const answer = await pool.request({ path: '/v1/transactions', method: 'POST', headers, body });
      if (answer.statusCode !== 202) throw new Error(`${answer.statusCode} ${await answer.body.text()}`);
      await answer.body.dump();
    }
  };
  await Promise.all(Array.from({ length: 64 }, loop));
  await pool.close();
}

/** Milliseconds from the start of the process until no transaction is open. */
async function untilSettled(url: string): Promise<number> {
  const pool = new Pool(url);
  while (Date.now() - startedAtMs < limitMs) {
    const { body } = await pool.request({
      path: '/v1/transactions?status=running,finishing,compensating&limit=1',
      method: 'GET',
    });
    const page = (await body.json()) as { items: unknown[]; next?: string };
    if (page.items.length === 0 && page.next === undefined) {
      await pool.close();
      return Date.now() - startedAtMs;
    }
    await sleep(100);
  }
  throw new Error(`not settled within ${limitMs} ms`);
}
