// Starts a service the way it was found, and gives back its URL once it answers there.
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../lib/failure.mjs';
import { aptInstall } from './apt.mjs';
import { startChild } from './children.mjs';
import { dockerRemove, dockerRun } from './docker.mjs';
import { findWay, missing } from './find.mjs';
import { freePort } from './ports.mjs';
import { run } from './running.mjs';
import { handOver, identityOf } from '../../server/src/demo/private-servers/identity.ts';
import { services } from './services.mjs';

/** Many starts side by side on two processors have taken 24 s. */
const readyMs = 60_000;
/** Docker may have to fetch the image first. */
const dockerReadyMs = 240_000;
/** Between our choosing a port and the service's taking it, somebody else may. */
const portAttempts = 3;

/**
 * Starts services side by side.
 * @param {string[]} names Keys of `services`.
 * @param {string} base A folder that is ours alone, and that the user of a service may enter.
 * @returns {Promise<Record<string, string>>} The URL of each; throws a Failure with a line for each that failed.
 */
export async function startAll(names, base, world) {
  const ways = await waysOf(names, world);
  const started = await each(names, (name) => start(services[name], ways[name], join(base, name)));
  return Object.fromEntries(Object.entries(started).map(([name, { url }]) => [name, url]));
}

/**
 * Starts one service, in a folder that is not there yet.
 * @param {string} name A key of `services`.
 */
export async function startOne(name, folder, world) {
  const ways = await waysOf([name], world);
  return start(services[name], ways[name], folder);
}

/**
 * @param {import('./services.mjs').Service | import('./services.mjs').PrivateService} service
 * @param {import('./find.mjs').Way} way
 * @param {string} folder
 * @returns {Promise<import('./running.mjs').Running & Partial<import('./running.mjs').Steering>>} What we started from
 *   programs can be steered, too.
 */
export async function start(service, way, folder) {
  try {
    if (way.kind === 'url') return await takeGiven(service, way.url);
    mkdirSync(folder);
    const launch = way.kind === 'docker' ? launchInDocker : await launcherOfPrograms(service, way, folder);
    return await withFreePort((port) => launch(service, folder, port));
  } catch (error) {
    const [reason, ...log] = (error.message || error.code).split('\n');
    const advice =
      way.kind === 'url' ? `Start that server, or unset ${service.variable} to have one started.` : undefined;
    const { message } = missing(service, [`${inWords(service, way)}: ${reason}`], advice);
    throw new Failure([message, ...log].join('\n'));
  }
}

/** A URL is shown without its password. */
function inWords(service, way) {
  if (way.kind === 'docker') return `Docker with the image ${service.image.name}`;
  if (way.kind === 'url') return `${service.variable}=${way.url.replace(/:[^:@/]*@/, ':***@')}`;
  return Object.values(way.programs).join(' and ');
}

/** What has to be installed is installed for all services at once, before any is started. */
async function waysOf(names, world) {
  const ways = await each(names, (name) => findWay(services[name], world));
  const toInstall = names.filter((name) => ways[name].kind === 'apt');
  if (toInstall.length === 0) return ways;
  await aptInstall(toInstall.flatMap((name) => services[name].packages));
  const installed = await each(toInstall, (name) => findWay(services[name], world));
  for (const name of toInstall) {
    if (installed[name].kind === 'programs') continue;
    throw missing(services[name], ['apt-get, which installed the packages without the programs in them']);
  }
  return { ...ways, ...installed };
}

async function takeGiven(service, url) {
  await service.probe(url);
  return { url, stop: () => Promise.resolve() };
}

async function launcherOfPrograms(service, { programs, primary }, folder) {
  const identity = service.user === undefined ? {} : identityOf(service.user);
  handOver(folder, identity);
  const place = { folder, programs, primary, fetched: await service.fetch?.() };
  for (const [name, lines] of Object.entries(service.files?.(place) ?? {}))
    writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
  const preparation = service.prepare(place);
  if (preparation !== undefined) {
    const child = startChild(preparation, { folder, identity });
    if (!(await child.ended)) throw new Failure(`${preparation[0]}: ${child.end}\n${child.lastWords()}`);
  }
  return (_service, _folder, port) => {
    const begin = async () => {
      const otherPorts = await Promise.all(Array.from({ length: service.otherPorts ?? 0 }, freePort));
      const command = service.serve({ ...place, port, otherPorts });
      return startChild(command, { folder, identity, stopSignal: service.stopSignal });
    };
    return run(service, { begin, port, waitMs: readyMs });
  };
}

async function launchInDocker(service, folder, port) {
  const name = `settle-test-${randomBytes(6).toString('hex')}`;
  const beforeStop = () => dockerRemove(name);
  const begin = () => startChild(dockerRun(service, { name, port }), { folder, beforeStop });
  const { url, stop } = await run(service, { begin, port, waitMs: dockerReadyMs });
  // To steer the program in the foreground would not steer the container.
  return { url, stop };
}

async function withFreePort(launch) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(await freePort());
    } catch (error) {
      if (
        attempt === portAttempts ||
        !/address (?:is )?already in use|port is already allocated|eaddrinuse/i.test(error.message)
      )
        throw error;
    }
  }
}

/** Runs all to their end, so that one run names everything that is missing. */
async function each(names, body) {
  const results = await Promise.allSettled(names.map(body));
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  if (errors.length > 0) {
    const isPlain = errors.every((error) => error instanceof Failure);
    throw isPlain ? new Failure(errors.map((error) => error.message).join('\n')) : errors[0];
  }
  return Object.fromEntries(names.map((name, i) => [name, results[i].value]));
}
