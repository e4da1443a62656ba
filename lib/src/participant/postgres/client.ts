/** The part of a PostgreSQL driver that the barrier needs; `Pool` and `PoolClient` of the package pg have it. */
export interface PostgresClient {
  query(text: string, values?: PostgresValue[]): Promise<PostgresResult>;
}

export interface PostgresResult {
  readonly rows: readonly unknown[];
  readonly rowCount: number | null;
  /** What the server says it has done: `COMMIT`, or `ROLLBACK` in answer to a commit. */
  readonly command: string;
}

export type PostgresValue = null | number | string;

export interface PostgresPoolClient extends PostgresClient {
  /** With `true` the connection is closed instead of given back. */
  release(close?: boolean): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  removeListener(event: 'error', listener: (error: Error) => void): unknown;
}

export interface PostgresPool {
  connect(): Promise<PostgresPoolClient>;
  on?(event: 'connect', listener: (client: PostgresPoolClient) => void): unknown;
}

/** The clients of a pool, whose `connect` may also take a callback. */
export type ClientOf<Pool extends PostgresPool> = Pool extends {
  connect: { (): Promise<infer Client extends PostgresPoolClient>; (callback: never): unknown };
}
  ? Client
  : PostgresPoolClient;
