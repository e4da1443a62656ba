import type { Driver } from '../../lib/src/local/driver.ts';
import type { NoteDatabase } from './databases.ts';

/** One adapter on one database, as the contract drives it: everything in the adapter's own way of saying it. */
export interface Subject<Client> {
  /** `pg`, `Drizzle over pg`. */
  readonly name: string;
  readonly database: NoteDatabase;
  /**
   * A driver over a pool of that many connections to `url`: the database's, or a proxy before it. Those that have only one
   * connection ignore the number.
   */
  open(connectionsMax: number, url: string): Promise<OpenDriver<Client>>;
  /** Adds a row to `note`; fails when the value is there. */
  insert(client: Client, value: string): unknown;
  /** The values that the client sees, in order. */
  values(client: Client): string[] | Promise<string[]>;
  /** Runs any one statement. Undefined where the library has no way to. */
  readonly raw: ((client: Client, sql: string) => unknown) | undefined;
}

export interface OpenDriver<Client> {
  readonly driver: Driver<Client>;
  close(): Promise<void>;
}
