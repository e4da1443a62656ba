// Decides where a service comes from: a URL of the environment, installed programs, Docker, or what apt-get can install.
import { Failure } from '../lib/failure.mjs';
import { whyNoApt } from './apt.mjs';
import { whyNoDocker } from './docker.mjs';
import { findProgram } from '../../server/src/demo/private-servers/programs.ts';

/**
 * What this machine offers; tests make up their own.
 * @typedef {object} World
 * @property {Record<string, string | undefined>} env
 * @property {(program: string, folders: string[]) => string | undefined} find
 * @property {() => Promise<string | undefined>} whyNoDocker Nothing when it can be used.
 * @property {() => string | undefined} whyNoApt Nothing when it can be used.
 *
 * @typedef {{ kind: 'url', url: string } | { kind: 'programs', programs: Record<string, string>, primary?: string }
 *   | { kind: 'docker' } | { kind: 'apt' }} Way
 */

/** @type {World} */
export const thisMachine = {
  env: process.env,
  find: findProgram,
  whyNoDocker,
  whyNoApt,
};

/**
 * @param {import('./services.mjs').Service} service
 * @param {World} world
 * @returns {Promise<Way>} Throws a Failure that says what was tried when there is no way.
 */
export async function findWay(service, world = thisMachine) {
  const url = world.env[service.variable];
  if (url) return { kind: 'url', url };

  const primary = service.primary === undefined ? undefined : world.env[service.primary];
  if (service.primary !== undefined && !primary)
    throw missing(service, [
      `${service.variable} (not set)`,
      `a copy of the server in ${service.primary} (not set)`,
    ]);

  const folders = service.folders();
  const programs = {};
  for (const program of service.binaries) programs[program] = world.find(program, folders);
  const absent = service.binaries.filter((program) => programs[program] === undefined);
  if (absent.length === 0) return { kind: 'programs', programs, primary };

  // Between containers a replica would need a network and rules of access that we have nowhere to try.
  const noDocker = service.image === undefined ? 'makes no replicas for us' : await world.whyNoDocker();
  if (noDocker === undefined) return { kind: 'docker' };
  const noApt = world.whyNoApt();
  if (noApt === undefined) return { kind: 'apt' };

  throw missing(service, [
    `${service.variable} (not set)`,
    `the programs ${service.binaries.join(' and ')} (no ${absent.join(', no ')} on ${['PATH', ...folders].join(', ')})`,
    `Docker (${noDocker})`,
    `apt-get (${noApt})`,
  ]);
}

/** The one line that fails a test run: which service, what was tried, what to do. */
export function missing(service, tried, advice = howToHave(service)) {
  return new Failure(
    `${service.name} is needed by the tests, and could be neither found nor started. ` +
      `Tried: ${tried.join('; ')}. ${advice}`,
  );
}

function howToHave(service) {
  const docker = service.image === undefined ? '' : 'or start Docker, ';
  return (
    `Install it (on Debian: ${service.packages.join(' ')}), ${docker}` +
    `or set ${service.variable}=${service.exampleUrl} to a server that is there for tests only.`
  );
}
