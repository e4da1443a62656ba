/**
 * The databases of one run: one for each service.
 *
 * Owns: which servers are started, what is created on them, what becomes of both, and that a folder goes on as it began.
 * Does not own: what the services do with their databases.
 *
 * - R1 On a server it touches only databases that it made, in this run or an earlier one of the same folder.
 * - R2 Of a temporary folder nothing stays on a server, nor does a server.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { SettleError } from 'settle/core';
import {
  serverFolder,
  startPrivateServers,
  type PrivateServers,
} from '../private-servers/private-servers.ts';
import { byService, serviceNames, type ByService, type ServiceName } from '../service-names.ts';
import type { World } from '../world.ts';
import { begunIn, rememberBegun, type Begun } from './begun.ts';
import { kindsByService, type DatabaseChoice } from './choice.ts';
import { copyToFile, databaseFile, writeDatabaseFile } from './database-file.ts';
import { openServer, type DatabaseServer } from './database-server.ts';
import { serverKinds, type DatabaseKind, type Place, type ServerKind } from './kinds.ts';
import { openDatabase, type ServiceDatabase } from './service-database.ts';
import { createTables, fillTables } from './tables.ts';

export interface RunDatabases extends AsyncDisposable {
  readonly kinds: ByService<DatabaseKind>;
  readonly places: ByService<Place>;
  /** The services whose connections can be cut. */
  readonly onServers: readonly ServiceName[];
  /** Ends all connections of a service to its server, whatever they are doing; gives back how many there were. */
  cutConnections(service: ServiceName): Promise<number>;
  /** Once no service runs: copies what is on servers beside the files of the others, for the check and for people. */
  copyToFiles(): Promise<void>;
}

export interface RunDatabasesOptions {
  readonly dir: string;
  /** Nobody comes back to the folder. */
  readonly temporary: boolean;
  readonly choice: DatabaseChoice;
  readonly world: World;
  /** A server that was started here ended by itself. */
  readonly onSurprise: (error: Error) => void;
}

/**
 * Makes what is missing; databases of an earlier run in this folder go on from where they are. Throws `config_invalid` for
 * a server that can be neither reached nor started, and for a folder that was begun with other databases.
 */
export async function openRunDatabases(options: RunDatabasesOptions): Promise<RunDatabases> {
  const { dir, temporary, choice, onSurprise } = options;
  const kinds = kindsByService(choice);
  const before = begunIn(dir, kinds);
  const begun = before ?? { kinds, run: randomHex(4), secret: randomHex(16) };
  const used = serverKinds.filter((kind) => serviceNames.some((service) => kinds[service] === kind));
  const own = used.filter((kind) => !choice.urls.has(kind));
  if (before === undefined) refuseUnfinished(dir, own);

  const started = await startPrivateServers({
    kinds: own,
    dir,
    keep: !temporary,
    secret: begun.secret,
    onSurprise,
  });
  const databases = new TheDatabases(options, begun, started);
  try {
    for (const kind of used)
      await databases.open(kind, choice.urls.get(kind) ?? started.urls.get(kind) ?? '');
    if (before === undefined) await databases.makeOnServers();
    await databases.makeFiles();
    rememberBegun(dir, begun);
    return databases;
  } catch (error) {
    if (before === undefined) await databases.drop().catch(() => undefined);
    await databases.close();
    throw error;
  }
}

class TheDatabases implements RunDatabases {
  readonly kinds: ByService<DatabaseKind>;
  readonly onServers: readonly ServiceName[];
  readonly #options: RunDatabasesOptions;
  readonly #run: string;
  readonly #started: PrivateServers;
  readonly #servers = new Map<ServerKind, DatabaseServer>();

  constructor(options: RunDatabasesOptions, { kinds, run }: Begun, started: PrivateServers) {
    this.#options = options;
    this.kinds = kinds;
    this.onServers = serviceNames.filter((service) => kinds[service] !== 'sqlite');
    this.#run = run;
    this.#started = started;
  }

  get places(): ByService<Place> {
    return byService((service) => {
      const kind = this.kinds[service];
      return kind === 'sqlite'
        ? { kind, file: databaseFile(this.#options.dir, service) }
        : { kind, url: this.#serverOf(service).urlOf(this.#nameOf(service)) };
    });
  }

  async open(kind: ServerKind, url: string): Promise<void> {
    this.#servers.set(kind, await openServer(kind, url));
  }

  async makeOnServers(): Promise<void> {
    for (const service of this.onServers) {
      await this.#serverOf(service).create(this.#nameOf(service));
      const database = await openDatabase(this.places[service]);
      try {
        await this.#fill(database, service);
      } finally {
        await database.close();
      }
    }
  }

  async makeFiles(): Promise<void> {
    for (const service of serviceNames) {
      const file = databaseFile(this.#options.dir, service);
      if (this.kinds[service] !== 'sqlite' || existsSync(file)) continue;
      await writeDatabaseFile(file, (database) => this.#fill(database, service));
    }
  }

  async #fill({ query, types }: ServiceDatabase, service: ServiceName): Promise<void> {
    await createTables(query, service, types);
    await fillTables(query, service, this.#options.world);
  }

  cutConnections(service: ServiceName): Promise<number> {
    return this.#serverOf(service).cutConnections(this.#nameOf(service));
  }

  async copyToFiles(): Promise<void> {
    for (const service of this.onServers) {
      await copyToFile(this.places[service], service, databaseFile(this.#options.dir, service));
    }
  }

  /** From servers that stay; those that were started here go with their data. */
  async drop(): Promise<void> {
    for (const [kind, server] of this.#servers) {
      if (this.#started.urls.has(kind)) continue;
      for (const service of this.onServers) {
        if (this.kinds[service] === kind) await server.drop(this.#nameOf(service));
      }
    }
  }

  async close(): Promise<void> {
    try {
      await Promise.all([...this.#servers.values()].map((server) => server.close()));
    } finally {
      await this.#started.stop();
    }
  }

  /** R2 */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#options.temporary) await this.drop();
    } finally {
      await this.close();
    }
  }

  #serverOf(service: ServiceName): DatabaseServer {
    const kind = this.kinds[service];
    const server = kind === 'sqlite' ? undefined : this.#servers.get(kind);
    if (server === undefined) throw new Error(`${service} has no server`);
    return server;
  }

  #nameOf(service: ServiceName): string {
    return `settle_dev_${this.#run}_${service}`;
  }
}

/** Where a run ended before its databases were whole, nobody knows what is in them. */
function refuseUnfinished(dir: string, kinds: readonly ServerKind[]): void {
  const folder = kinds.map((kind) => serverFolder(dir, kind)).find((path) => existsSync(path));
  if (folder === undefined) return;
  throw new SettleError('config_invalid', `${folder} is there, but no run has finished making it`, {
    next: 'Remove it, or choose another --dir',
  });
}

function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
