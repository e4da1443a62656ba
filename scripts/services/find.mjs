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
 * @param {import('./services.mjs').Service | import('./services.mjs').PrivateService} service
 * @param {World} world
 * @returns {Promise<Way>} Throws a Failure that says what was tried when there is no way.
 */
export async function findWay(service, world = thisMachine) {
  const url = service.variable === undefined ? undefined : world.env[service.variable];
  if (url) return { kind: 'url', url };

  const primary = service.primary === undefined ? undefined : world.env[service.primary];
  if (service.primary !== undefined && !primary)
    throw missing(service, [
      ...notSet(service.variable),
      `a copy of the server in ${service.primary} (not set)`,
    ]);

  const folders = service.folders();
  const programs = {};
  for (const program of service.binaries) programs[program] = world.find(program, folders);
  const absent = service.binaries.filter((program) => programs[program] === undefined);
  const noPrograms =
    absent.length > 0
      ? `no ${absent.join(', no ')} on ${['PATH', ...folders].join(', ')}`
      : await service.whyUnsuitable?.(programs);
  if (noPrograms === undefined) return { kind: 'programs', programs, primary };

  const noDocker = service.image === undefined ? service.whyNoImage : await world.whyNoDocker();
  if (noDocker === undefined) return { kind: 'docker' };
  const noApt = world.whyNoApt();
  if (noApt === undefined) return { kind: 'apt' };

  throw missing(service, [
    ...notSet(service.variable),
    `the programs ${service.binaries.join(' and ')} (${noPrograms})`,
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

function notSet(variable) {
  return variable === undefined ? [] : [`${variable} (not set)`];
}

function howToHave(service) {
  const ways = [
    `Install it (on Debian: ${service.packages.join(' ')})`,
    ...(service.image === undefined ? [] : ['start Docker']),
    ...(service.variable === undefined
      ? []
      : [`set ${service.variable}=${service.exampleUrl} to a server that is there for tests only`]),
  ];
  return `${ways.join(', or ')}.`;
}
