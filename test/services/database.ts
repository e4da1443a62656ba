// A database for one test file: made before its tests, dropped after them, and by then nobody may be connected to it.
// Owns the order of these steps and the judgement on a leak; what a server needs for each step is its own file's.
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect } from 'vitest';

/** One server, as the connection of somebody who may make and drop databases there. */
export interface DatabaseServer {
  /** Makes an empty database; the label is for those who read a message with its name. */
  create(label: string): Promise<{ readonly name: string; readonly url: string }>;
  connectionsTo(name: string): Promise<readonly OpenConnection[]>;
  /** Ends whatever is still connected or prepared there, too. */
  drop(name: string): Promise<void>;
  close(): Promise<void>;
}

export interface OpenConnection {
  readonly id: number;
  /** Undefined where the server does not know. */
  readonly lastQuery: string | undefined;
}

export interface TestDatabase {
  /** Known once the hooks of the file have begun: read it in `beforeAll` or in a test. */
  readonly url: string;
  readonly name: string;
}

/** Registers the hooks. Hooks of the file registered after this call run before ours at the end: close pools there. */
export function databaseOfThisFile(open: () => Promise<DatabaseServer>): TestDatabase {
  let server: DatabaseServer | undefined;
  let made: { readonly name: string; readonly url: string } | undefined;

  beforeAll(async () => {
    server = await open();
    made = await server.create(basename(expect.getState().testPath ?? 'test').replace(/\..*$/, ''));
  });

  afterAll(async () => {
    if (server === undefined) return;
    try {
      if (made !== undefined) await checkAndDrop(server, made.name);
    } finally {
      await server.close();
    }
  });

  const here = () => {
    if (made === undefined) throw new Error('the database is made in beforeAll: read its url there or later');
    return made;
  };
  return {
    get url() {
      return here().url;
    },
    get name() {
      return here().name;
    },
  };
}

/** A client that has said goodbye may still stand in the server's list for a moment. */
const graceMs = 2_000;
const pollMs = 25;

/** A leak is reported, but does not keep the database; when dropping fails too, both errors reach the caller. */
export async function checkAndDrop(
  server: DatabaseServer,
  name: string,
  patienceMs = graceMs,
): Promise<void> {
  const steps = [() => expectNoConnections(server, name, patienceMs), () => server.drop(name)];
  const errors: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => errors.push(error));
  if (errors.length > 1) throw new AggregateError(errors, errors.map(String).join('\n'));
  if (errors.length === 1) throw errors[0];
}

/** Throws when somebody is still connected to this database after a short grace. */
export async function expectNoConnections(
  server: Pick<DatabaseServer, 'connectionsTo'>,
  name: string,
  patienceMs = graceMs,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const open = await server.connectionsTo(name);
    if (open.length === 0) return;
    if (performance.now() > deadline) throw new Error(leakOf(name, open));
    await sleep(pollMs);
  }
}

function leakOf(name: string, open: readonly OpenConnection[]): string {
  const count = open.length === 1 ? '1 connection' : `${open.length} connections`;
  const queries = open.map(({ id, lastQuery }) => `${id}: ${lastQuery ?? '(unknown)'}`);
  return (
    `${count} to the database ${name} left open by this test file; close every client and pool in afterAll. ` +
    `Last query of each: ${queries.join(' · ')}`
  );
}
