/**
 * A coordinator dies with many sagas in flight, all of them at participants that do not answer; the next one finds them.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { CoordinatorProcess } from './coordinator-process.ts';
import { allSettled, countBy } from './statuses.ts';

export interface Restarted {
  /** Milliseconds from the start of the process. */
  readonly firstCallMs: number;
  readonly settledMs: number;
  readonly byStatus: Readonly<Record<string, number>>;
  /** How many steps were done, each counted once. */
  readonly stepsDone: number;
}

export async function restartWith(inFlight: number): Promise<Restarted> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-restart-'));
  const done = new Set<string>();
  let answers = false;
  let firstCallAtMs: number | undefined;
  const participant = createServer({ keepAliveTimeout: 60_000 }, (request, response: ServerResponse) => {
    request.resume();
    if (!answers) return;
    firstCallAtMs ??= performance.now();
    done.add(`${String(request.headers['settle-gid'])}${request.url ?? ''}`);
    response.writeHead(200, { 'content-type': 'application/json', 'settle-barrier': 'stored' }).end('{}');
  });
  participant.listen(0, '127.0.0.1');
  await once(participant, 'listening');
  const url = `http://127.0.0.1:${(participant.address() as AddressInfo).port}`;
  const coordinator = await CoordinatorProcess.start(join(folder, 'settle.db'));
  try {
    await submitAll(coordinator.url, url, inFlight);
    await coordinator.end('SIGKILL');
    answers = true;
    const startedMs = performance.now();
    await coordinator.start();
    const statuses = await allSettled(coordinator.url);
    const settledMs = performance.now() - startedMs;
    const firstCallMs = (firstCallAtMs ?? Infinity) - startedMs;
    return { firstCallMs, settledMs, byStatus: countBy(statuses.values()), stepsDone: done.size };
  } finally {
    await coordinator.end('SIGKILL');
    participant.closeAllConnections();
    await new Promise((resolve) => participant.close(resolve));
    rmSync(folder, { recursive: true });
  }
}

async function submitAll(coordinator: string, participant: string, count: number): Promise<void> {
  const pool = new Pool(coordinator, { connections: 32 });
  const step = (name: string): object => ({ name, action: { url: `${participant}/${name}` } });
  let n = 0;
  const client = async (): Promise<void> => {
    while (n < count) {
      const saga = {
        pattern: 'saga',
        gid: `restart-${n++}`,
        name: 'restart',
        callTimeoutMs: 60_000,
        steps: [step('a'), step('b')],
      };
      const headers = { 'content-type': 'application/json' };
      const answer = await pool.request({
        path: '/v1/transactions',
        method: 'POST',
        headers,
        body: JSON.stringify(saga),
      });
      if (answer.statusCode !== 202) throw new Error(`${answer.statusCode} ${await answer.body.text()}`);
      await answer.body.dump();
    }
  };
  await Promise.all(Array.from({ length: 32 }, client));
  await pool.close();
}
