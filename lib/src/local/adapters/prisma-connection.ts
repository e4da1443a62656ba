/** Where the statements of Prisma's driver adapters run: on handles of the driver beneath, which they take for their client. */
import type { Connection, Driver, Gate } from '../driver.ts';
import { onTurn } from './orm.ts';

export interface PrismaConnection {
  /** Runs one statement: what the adapter does with its client. `text` is its SQL. */
  run<T>(statement: (client: object) => Promise<T>, text: string): Promise<T>;
}

/** Of one scope: whatever runs on it goes through its gate. */
export function connectionWithin(base: Driver<object>, gate: Gate<unknown>): PrismaConnection {
  return {
    async run(statement, text) {
      let failure: Failure | undefined;
      const onConnection = async (connection: Connection): Promise<Awaited<ReturnType<typeof statement>>> => {
        const heard: Heard = { error: undefined };
        try {
          return await statement(clientOf(base, base.client(overheard(connection, heard)), heard));
        } catch (made) {
          if (heard.error === undefined) throw made;
          failure = { made, said: heard.error };
          // The transaction goes by what the driver said.
          throw failure.said;
        }
      };
      try {
        return await gate.run(onConnection, text);
      } catch (error) {
        if (failure === undefined || failure.said !== error) throw error;
        if (typeof failure.made === 'object' && failure.made !== null) causes.set(failure.made, failure.said);
        throw failure.made;
      }
    },
  };
}

/** Outside of transactions, where all have one connection: throws `scope_busy` while one is open. */
export function connectionAlone(base: Driver<object>): PrismaConnection {
  return {
    async run(statement) {
      // The adapter would make an error of its own of it. What it does then, it does at once.
      (base.outside as SqliteClient).exec('');
      return await statement(clientOf(base, base.outside, { error: undefined }));
    },
  };
}

/** What the driver said, of an error that an adapter made of it. */
export function causeOf(made: object): unknown {
  return causes.get(made);
}

const causes = new WeakMap<object, unknown>();

/** What an adapter made of what the driver said. */
interface Failure {
  readonly made: unknown;
  readonly said: unknown;
}

/** What the driver said last. */
interface Heard {
  error: unknown;
}

function overheard(connection: Connection, heard: Heard): Gate<object> {
  return {
    ...onTurn(connection),
    async run(statement) {
      try {
        return await statement(connection);
      } catch (error) {
        heard.error = error;
        throw error;
      }
    },
    runNow: (statement) => hearing(heard, () => statement(connection)),
  };
}

function hearing<T>(heard: Heard, work: () => T): T {
  try {
    return work();
  } catch (error) {
    heard.error = error;
    throw error;
  }
}

interface SqliteClient {
  exec(sql: string): unknown;
  prepare(sql: string): { safeIntegers(isSafe: boolean): object };
}

/** The adapter of better-sqlite3 sets its own client to big integers, and makes numbers of them where they fit. */
function clientOf({ answers }: Driver<object>, handle: object, heard: Heard): object {
  if (answers === 'later') return handle;
  const sqlite = handle as SqliteClient;
  return { prepare: (sql: string) => hearing(heard, () => sqlite.prepare(sql).safeIntegers(true)) };
}
