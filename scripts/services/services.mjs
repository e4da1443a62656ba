// Every service that tests may ask for. A new one is a file of the same shape and an entry here.
import { mariadb } from './mariadb.mjs';
import { mariadbReplica } from './mariadb-replica.mjs';
import { postgres } from './postgres.mjs';
import { postgresReplica } from './postgres-replica.mjs';
import { redis } from './redis.mjs';

/**
 * @typedef {object} Service
 * @property {string} name As in a message: `PostgreSQL`.
 * @property {string} variable The environment variable whose URL wins over everything else.
 * @property {string} [primary] The environment variable whose URL it follows, where it is a replica.
 * @property {string} exampleUrl What the variable may look like.
 * @property {string[]} binaries The programs needed, found on PATH or in `folders`.
 * @property {() => string[]} folders Where they lie when they are not on PATH.
 * @property {string[]} packages What holds them on Debian.
 * @property {string} user Whom they run as when we are root.
 * @property {(at: Place) => Command | undefined} prepare What fills the data directory, once.
 * @property {(at: Place & { port: number }) => Command} serve What listens, and ends by `stopSignal`.
 * @property {NodeJS.Signals} stopSignal The fastest end that leaves nothing behind; the data is thrown away.
 * @property {{ name: string, port: number, options: string[], args: string[] }} [image] The same from Docker, if it is
 *   to be had there.
 * @property {(port: number) => string} url
 * @property {(url: string) => Promise<void>} probe Rejects until the service answers.
 *
 * @typedef {{ folder: string, programs: Record<string, string>, primary?: string }} Place A folder that is ours alone, and
 *   the URL of the primary for a replica.
 * @typedef {[program: string, args: string[]]} Command
 */

export const services = { postgres, postgresReplica, mariadb, mariadbReplica, redis };
