// Every service that tests may ask for. A new one is a file of the same shape and an entry here.
import { kafka } from './kafka.mjs';
import { mariadb } from './mariadb.mjs';
import { mariadbReplica } from './mariadb-replica.mjs';
import { nats } from './nats.mjs';
import { postgres } from './postgres.mjs';
import { postgresReplica } from './postgres-replica.mjs';
import { rabbitmq } from './rabbitmq.mjs';
import { redis } from './redis.mjs';

/**
 * @typedef {object} Service
 * @property {string} name As in a message: `PostgreSQL`.
 * @property {string} variable The environment variable whose URL wins over everything else.
 * @property {string} [primary] The environment variable whose URL it follows, where it is a replica.
 * @property {string} exampleUrl What the variable may look like.
 * @property {string[]} binaries The programs needed, found on PATH or in `folders`.
 * @property {() => string[]} folders Where they lie when they are not on PATH.
 * @property {(programs: Record<string, string>) => Promise<string | undefined>} [whyUnsuitable] Nothing when the programs
 *   found will do.
 * @property {string[]} packages What holds them on Debian.
 * @property {string} [user] Whom they run as when we are root, unless as root.
 * @property {() => Promise<string>} [fetch] What no package holds; gives back the folder where it lies.
 * @property {(at: Place) => Record<string, string[]>} [files] The lines of each file that is to be in the folder.
 * @property {(at: Place) => Command | undefined} prepare What fills the data directory, once.
 * @property {number} [otherPorts] How many it needs that no client uses; they are others after a restart.
 * @property {(at: Place & { port: number, otherPorts: number[] }) => Command} serve What listens, and ends by
 *   `stopSignal`.
 * @property {NodeJS.Signals} stopSignal The fastest end that leaves nothing behind; the data is thrown away.
 * @property {{ name: string, port: number, options: (port: number) => string[], args: string[] }} [image] The same from
 *   Docker, if it is to be had there; `port` is the one within, the options get the one outside.
 * @property {string} [whyNoImage]
 * @property {(port: number) => string} url
 * @property {(url: string) => Promise<void>} probe Rejects until the service answers.
 * @property {(url: string) => Promise<void>} [beforeKill] Has written what it has promised to keep, where a kill shows that
 *   it was not.
 *
 * @typedef {Omit<Service, 'variable' | 'exampleUrl'> & { variable?: undefined }} PrivateService
 *
 * @typedef {{ folder: string, programs: Record<string, string>, primary?: string, fetched?: string }} Place A folder that
 *   is ours alone, and the URL of the primary for a replica.
 * @typedef {[program: string, args: string[], env?: Record<string, string>]} Command
 */

export const services = {
  postgres,
  postgresReplica,
  mariadb,
  mariadbReplica,
  redis,
  privateRedis: privateOf(redis),
  privatePostgres: privateOf(postgres),
  privateMariadb: privateOf(mariadb),
  nats,
  privateNats: privateOf(nats),
  rabbitmq,
  privateRabbitmq: privateOf(rabbitmq),
  kafka,
  privateKafka: privateOf(kafka),
};

/**
 * The same as a server of one test file's own, which it may kill: never one that was given to us.
 * @param {Service} service
 * @returns {PrivateService}
 */
function privateOf(service) {
  return {
    ...service,
    name: `A private server of ${service.name}`,
    variable: undefined,
    image: undefined,
    whyNoImage: 'starts none that tests could kill and start again',
  };
}
