// A database for one test file, on a primary and on a replica of it whose replay the file may pause.
// Owns what replicas of any kind have in common. Each file has a replica of its own, started when it asks and gone with
// it: a pause stops the replay of a whole server, and files that share one would meet each other's pauses.
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import { keepServices } from '../../scripts/services/keep.mjs';
import { services } from '../../scripts/services/services.mjs';
import { type DatabaseServer, databaseOfThisFile, type OpenConnection } from './database.ts';

export interface ReplicatedDatabase {
  readonly name: string;
  /** Both URLs are known once the hooks of the file have begun: read them in `beforeAll` or in a test. */
  readonly primary: string;
  /** Of a user who cannot write there. */
  readonly replica: string;
  /** Once it returns, the replica still receives, and shows nothing new. */
  pause(): Promise<void>;
  /** Once it returns, the replica shows more and more again. */
  resume(): Promise<void>;
  /** Returns when the replica shows all that was committed before; throws when it does not within 10 s. */
  caughtUp(): Promise<void>;
}

/** One replica, as the connection of somebody who may stop its replay. */
export interface ReplicaServer extends Pick<ReplicatedDatabase, 'pause' | 'resume' | 'caughtUp'> {
  /** Returns when this new database of the primary is there. */
  follow(name: string): Promise<void>;
  urlOf(name: string): string;
  connectionsTo(name: string): Promise<readonly OpenConnection[]>;
  close(): Promise<void>;
}

/** Registers the hooks, as databaseOfThisFile does; a connection left open on either side fails the file. */
export function replicatedDatabaseOfThisFile(
  openPrimary: () => Promise<DatabaseServer>,
  openReplica: () => Promise<ReplicaServer>,
): ReplicatedDatabase {
  let replica: ReplicaServer | undefined;
  const database = databaseOfThisFile(async () => {
    replica = await openReplica();
    return withReplica(await openPrimary(), replica);
  });

  const here = () => {
    if (replica === undefined) throw new Error('the replica is started in beforeAll: use it there or later');
    return replica;
  };
  return {
    get name() {
      return database.name;
    },
    get primary() {
      return database.url;
    },
    get replica() {
      return here().urlOf(database.name);
    },
    pause: () => here().pause(),
    resume: () => here().resume(),
    caughtUp: () => here().caughtUp(),
  };
}

/** The two as one server: a database is made when it is on both, and connected to is who is so on either. */
export function withReplica(primary: DatabaseServer, replica: ReplicaServer): DatabaseServer {
  return {
    async create(label) {
      const made = await primary.create(label);
      try {
        await replica.follow(made.name);
      } catch (error) {
        await primary.drop(made.name);
        throw error;
      }
      return made;
    },
    async connectionsTo(name) {
      const lists = await Promise.all([primary.connectionsTo(name), replica.connectionsTo(name)]);
      return lists.flat();
    },
    drop: (name) => primary.drop(name),
    async close() {
      await replica.close();
      await primary.close();
    },
  };
}

export interface StartedReplica {
  readonly url: string;
  /** By the environment: it follows its primary already, and all files share it. */
  readonly isGiven: boolean;
  readonly stop: () => Promise<void>;
}

/** Starts one, unless the environment gives one; ours ends with this process at the latest. */
export async function startReplica(name: 'postgresReplica' | 'mariadbReplica'): Promise<StartedReplica> {
  const primary = { [services.postgres.variable]: inject('services').postgres };
  const { urls, stop } = await keepServices([name], { ...process.env, ...primary });
  return { url: urls[name], isGiven: Boolean(process.env[services[name].variable]), stop };
}

/** How long a replica may take to show what its primary has. */
export const catchUpMs = 10_000;

/** How long a file waits for its turn with a replica that was given, which all files share. */
export const turnMs = 50_000;

const pollMs = 10;

/** Asks until the answer is yes; false when it has not come in time. */
export async function becomesTrue(ask: () => Promise<boolean>, waitMs = catchUpMs): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  while (!(await ask())) {
    if (performance.now() > deadline) return false;
    await sleep(pollMs);
  }
  return true;
}
