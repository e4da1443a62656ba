/** The load on DBOS, which lives in this very process; sends the result to its parent. */
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { answer } from '../../harness/child.ts';
import { closedLoop, type Measured } from '../../harness/load.ts';
import { poster } from '../../harness/post.ts';
import { order, steps } from './peer.ts';

/** What is used of @dbos-inc/dbos-sdk and its pg, which are not installed in this workspace. */
interface Dbos {
  setConfig(config: {
    readonly name: string;
    readonly applicationVersion: string;
    readonly systemDatabaseUrl: string;
    readonly systemDatabaseSchemaName: string;
    readonly systemDatabasePoolSize: number;
    readonly logLevel: string;
  }): void;
  registerWorkflow<Input>(
    workflow: (input: Input) => Promise<string>,
    options: { readonly name: string },
  ): (input: Input) => Promise<string>;
  runStep(step: () => Promise<unknown>, options: { readonly name: string }): Promise<unknown>;
  launch(): Promise<void>;
  shutdown(): Promise<void>;
}

interface PgClient {
  on(event: 'error', listener: () => void): void;
  connect(): Promise<void>;
  query(sql: string): Promise<unknown>;
  end(): Promise<void>;
}

const [databaseUrl = '', packages = '', participants = '', poolSize, inFlight, durationMs, warmUpMs] =
  process.argv.slice(2);
const requirePeer = createRequire(join(packages, 'package.json'));
// It draws one from pg, which is its own affair.
process.noDeprecation = true;
const { DBOS } = requirePeer('@dbos-inc/dbos-sdk') as { readonly DBOS: Dbos };
const post = poster(participants);
// The database may be the user's own: a schema of our own in it, gone at the end.
const schema = `settle_bench_${randomBytes(6).toString('hex')}`;

const place = DBOS.registerWorkflow(
  async (input: typeof order) => {
    for (const step of steps) await DBOS.runStep(() => post(`/plain/${step}`, input), { name: step });
    return 'committed';
  },
  { name: 'place-order' },
);
DBOS.setConfig({
  name: 'settle-bench',
  applicationVersion: '1',
  systemDatabaseUrl: databaseUrl,
  systemDatabaseSchemaName: schema,
  systemDatabasePoolSize: Number(poolSize),
  logLevel: 'error',
});

await answer(measurePlacing(), dropSchema);

async function measurePlacing(): Promise<Measured> {
  await DBOS.launch();
  const load = { inFlight: Number(inFlight), durationMs: Number(durationMs), warmUpMs: Number(warmUpMs) };
  const measured = await closedLoop(load, async () => {
    const status = await place(order);
    if (status !== 'committed') throw new Error(status);
  });
  await DBOS.shutdown();
  return measured;
}

/** As far as there still is a database: ours ends with the bench. */
async function dropSchema(): Promise<void> {
  const { Client } = requirePeer('pg') as { readonly Client: new (url: string) => PgClient };
  const client = new Client(databaseUrl);
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(`drop schema if exists ${schema} cascade`);
    await client.end();
  } catch (error) {
    if (process.connected) throw error;
  }
}
