/**
 * The reference: a bare loop with the same HTTP calls and the same fsynced writes, and no logic at all.
 * POST in, insert a row, two POSTs out one after the other, update the row, answer. SQLite in WAL mode with
 * synchronous=FULL on the main thread; all rows of one turn of the event loop share one commit.
 *
 *   node reference.ts <file>
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { Pool } from 'undici';
import { ready } from '../harness/child.ts';

interface Submitted {
  readonly gid: string;
  readonly steps: readonly { readonly action: { readonly url: string; readonly payload: unknown } }[];
}

const db = new DatabaseSync(process.argv[2] ?? ':memory:');
db.exec(
  'pragma journal_mode = wal; pragma synchronous = full; create table t (gid text primary key, body text, state text)',
);
const insert = db.prepare('insert into t (gid, body, state) values (?, ?, ?)');
const update = db.prepare('update t set state = ? where gid = ?');

let waiting: { readonly write: () => void; readonly done: () => void }[] = [];

function durably(write: () => void): Promise<void> {
  return new Promise((done) => {
    if (waiting.push({ write, done }) === 1) setImmediate(commit);
  });
}

function commit(): void {
  const group = waiting;
  waiting = [];
  db.exec('begin immediate');
  for (const { write } of group) write();
  db.exec('commit');
  for (const { done } of group) done();
}

const pools = new Map<string, Pool>();

async function call(url: string, payload: unknown): Promise<void> {
  const { origin, pathname } = new URL(url);
  let pool = pools.get(origin);
  if (pool === undefined) pools.set(origin, (pool = new Pool(origin, { connections: 256, pipelining: 1 })));
  const headers = { 'content-type': 'application/json' };
  const { statusCode, body } = await pool.request({
    path: pathname,
    method: 'POST',
    headers,
    body: JSON.stringify(payload),
  });
  await body.text();
  if (statusCode !== 200) throw new Error(`status ${statusCode}`);
}

async function handle(text: string): Promise<string> {
  const { gid, steps } = JSON.parse(text) as Submitted;
  await durably(() => insert.run(gid, text, 'running'));
  for (const { action } of steps) await call(action.url, action.payload);
  await durably(() => update.run('committed', gid));
  return JSON.stringify({ gid, status: 'committed' });
}

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    handle(Buffer.concat(chunks).toString()).then(
      (answer) => {
        response.writeHead(200, {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(answer),
        });
        response.end(answer);
      },
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
});

server.listen(0, '127.0.0.1', () => ready(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
