/** The connections of a Sequelize, in the form that the driver beneath it knows: a pool of pg, or one of mysql2. */
import { SettleError } from '../../util/errors.ts';

/** The part of Sequelize's connection manager that is used. */
interface ConnectionManager {
  getConnection(need: { readonly type: 'write'; readonly useMaster: true }): Promise<RawConnection>;
  releaseConnection(connection: RawConnection): void;
  destroyConnection(connection: RawConnection): Promise<unknown>;
  readonly pool: PoolSize & { readonly write?: PoolSize };
  /** With hooks, passwords that change and all: one connection apart from the pool. */
  _connect(config: unknown): Promise<RawConnection>;
  _disconnect(connection: RawConnection): Promise<unknown>;
  readonly config: { readonly replication?: { readonly write: unknown } | false };
}

interface PoolSize {
  readonly maxSize?: number;
  readonly size?: number;
}

/** A Client of pg, or a connection of mysql2 with callbacks. */
interface RawConnection {
  query(...args: unknown[]): Promise<unknown>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  removeListener(event: string, listener: (...args: unknown[]) => void): unknown;
  readonly processID?: number | null;
  getTransactionStatus?(): string | null;
  readonly threadId?: number;
  readonly config?: unknown;
  promise?(): Pick<RawConnection, 'query'> & { execute(...args: unknown[]): Promise<unknown> };
}

const write = { type: 'write', useMaster: true } as const;

/** Throws `config_invalid` for a database that no driver of ours is for. */
export function poolOf(dialect: string, manager: object): object {
  if (!isManager(manager)) throw unsupported('it has no connection manager of Sequelize 6');
  switch (dialect) {
    case 'postgres':
      return pgPoolOf(manager);
    case 'mysql':
      return mysql2PoolOf(manager);
    default:
      throw unsupported(`its dialect is ${dialect}`);
  }
}

function pgPoolOf(manager: ConnectionManager): object {
  // One for each connection: our driver listens to every client that it has not seen.
  const clients = new WeakMap<RawConnection, object>();
  const clientOf = (connection: RawConnection): object => {
    const client = clients.get(connection) ?? pgClientOf(connection, manager);
    clients.set(connection, client);
    return client;
  };
  return {
    connect: async () => clientOf(await manager.getConnection(write)),
    query: (...args: unknown[]) => onAny(manager, (connection) => connection.query(...args)),
    get totalCount() {
      return sizeOf(manager).size;
    },
    options: {
      get max() {
        return sizeOf(manager).maxSize;
      },
    },
    Client: class {
      #connected: RawConnection | undefined;

      async connect(): Promise<void> {
        const { config } = manager;
        this.#connected = await manager['_connect'](config.replication ? config.replication.write : config);
      }

      query(...args: unknown[]): Promise<unknown> {
        return this.#connected?.query(...args) ?? Promise.reject(new Error('connect() comes first'));
      }

      async end(): Promise<void> {
        if (this.#connected !== undefined) await manager['_disconnect'](this.#connected);
      }

      /** Sequelize listens to every connection it makes. */
      on(): void {}
    },
  };
}

function pgClientOf(connection: RawConnection, manager: ConnectionManager): object {
  return {
    query: (...args: unknown[]) => connection.query(...args),
    on: connection.on.bind(connection),
    removeListener: connection.removeListener.bind(connection),
    getTransactionStatus: connection.getTransactionStatus?.bind(connection),
    get processID() {
      return connection.processID;
    },
    release(destroy = false) {
      if (destroy) discard(connection, manager);
      else manager.releaseConnection(connection);
    },
  };
}

function mysql2PoolOf(manager: ConnectionManager): object {
  return {
    getConnection: async () => mysql2ConnectionOf(await manager.getConnection(write), manager),
    query: (...args: unknown[]) => onAny(manager, (connection) => promised(connection).query(...args)),
    execute: (...args: unknown[]) => onAny(manager, (connection) => promised(connection).execute(...args)),
    pool: {
      config: {
        get connectionLimit() {
          return sizeOf(manager).maxSize;
        },
      },
    },
  };
}

function mysql2ConnectionOf(connection: RawConnection, manager: ConnectionManager): object {
  const promises = promised(connection);
  // A connection of no pool is made without one.
  const Core = connection.constructor as new (options: object) => object;
  class OtherConnection extends Core {
    constructor(_: undefined, options: object) {
      super(options);
    }
  }
  return {
    query: (...args: unknown[]) => promises.query(...args),
    execute: (...args: unknown[]) => promises.execute(...args),
    threadId: connection.threadId,
    connection: { constructor: OtherConnection, config: connection.config },
    on: connection.on.bind(connection),
    removeListener: connection.removeListener.bind(connection),
    release: () => manager.releaseConnection(connection),
    destroy: () => discard(connection, manager),
  };
}

function promised(connection: RawConnection): NonNullable<ReturnType<NonNullable<RawConnection['promise']>>> {
  const promises = connection.promise?.();
  if (promises === undefined) throw unsupported('its connections are not of mysql2');
  return promises;
}

/** A statement on its own, on whatever connection is free. */
async function onAny(
  manager: ConnectionManager,
  statement: (connection: RawConnection) => Promise<unknown>,
): Promise<unknown> {
  const connection = await manager.getConnection(write);
  try {
    return await statement(connection);
  } finally {
    manager.releaseConnection(connection);
  }
}

function discard(connection: RawConnection, manager: ConnectionManager): void {
  // It is out of the pool at once; that it cannot be closed any more may be why it is discarded.
  manager.destroyConnection(connection).catch(() => {});
}

function sizeOf({ pool }: ConnectionManager): PoolSize {
  return pool.write ?? pool;
}

function isManager(manager: object): manager is ConnectionManager {
  return 'getConnection' in manager && 'destroyConnection' in manager && 'pool' in manager;
}

function unsupported(what: string): SettleError {
  return new SettleError('config_invalid', `sequelizeDriver does not know this Sequelize: ${what}`, {
    next: 'Pass a Sequelize 6 for PostgreSQL (pg), or for MySQL or MariaDB with dialect mysql (mysql2)',
  });
}
