import type { Isolation } from '../../lib/src/local/dialect.ts';
import type { Connection, Driver } from '../../lib/src/local/driver.ts';
import type { SqlResult, SqlValue } from '../../lib/src/util/sql.ts';

/** One adapter on one database, as the contract of the inbox drives it. */
export interface InboxSubject {
  readonly name: string;
  /** A driver over a pool of that many connections to the database of the file. */
  open(connectionsMax: number): Promise<OpenSubject>;
  /** The isolation levels that are different from each other there. */
  readonly isolations: readonly Isolation[];
  /** Whether several transactions that write can be open at once. */
  readonly writesSideBySide: boolean;
}

export interface OpenSubject {
  readonly driver: Driver<unknown>;
  close(): Promise<void>;
}

/** The driver, and how often a statement of a transaction failed by meeting another one. */
export interface CountedDriver {
  readonly driver: Driver<unknown>;
  readonly met: { deadlocks: number; serializationFailures: number };
}

/** Counts in what goes through `Transaction.query`; handles of the driver itself do not work on it. */
export function counted(driver: Driver<unknown>): CountedDriver {
  const met = { deadlocks: 0, serializationFailures: 0 };
  const note = (error: unknown): never => {
    const { kind } = driver.dialect.failureOf(error);
    if (kind === 'deadlock') met.deadlocks++;
    if (kind === 'serialization') met.serializationFailures++;
    throw error;
  };
  const wrap = (connection: Connection): Connection => {
    const query = async (sql: string, values: readonly SqlValue[]): Promise<SqlResult> => {
      try {
        if (connection.query === undefined) throw new Error(`${driver.name} runs no statements with values`);
        return await connection.query(sql, values);
      } catch (error) {
        return note(error);
      }
    };
    return {
      query,
      execute: async (sql) => Promise.resolve(connection.execute(sql)).catch(note),
      status: () => connection.status?.(),
      release: (fate) => connection.release(fate),
    };
  };
  return {
    met,
    driver: {
      name: driver.name,
      dialect: driver.dialect,
      outside: driver.outside,
      connectionsMax: driver.connectionsMax,
      answers: 'later',
      acquire: async (need) => wrap(await driver.acquire(need)),
      client: (gate) => ({ gate }),
    },
  };
}
