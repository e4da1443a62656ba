// Fetches jars from Maven Central into the cache of this repository. A jar that lies there has the checksum of its pin.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { Failure } from '../lib/failure.mjs';
import { alone } from '../lib/lock.mjs';

const central = 'https://repo1.maven.org/maven2';
const variable = 'SETTLE_MAVEN_REPOSITORY';
const atOnce = 6;
const attempts = 3;
const attemptMs = 120_000;

/**
 * @param {string} name Of the folder in `cache`, and of the lock that keeps two from fetching the same.
 * @param {string} pins Lines of `sha256  group:artifact:version`; those that begin with # are comments.
 * @param {string} cache
 * @returns {Promise<string>} The folder with these jars; throws a Failure that says which could not be had.
 */
export async function fetchJars(name, pins, cache, { env = process.env, home = homedir() } = {}) {
  const folder = join(cache, name);
  const missing = () => jarsOf(pins).filter(({ path }) => !existsSync(join(folder, basename(path))));
  if (missing().length > 0)
    await alone(`fetch-${name}`, () => fetchAll(name, missing(), { folder, from: repository(env, home) }));
  return folder;
}

/** A variable of ours, else the mirror that Maven itself would use, else Maven Central. */
export function repository(env, home) {
  const settings = join(home, '.m2', 'settings.xml');
  const mirror = existsSync(settings) ? mirrorOfCentral(readFileSync(settings, 'utf8')) : undefined;
  return (env[variable] || mirror || central).replace(/\/+$/, '');
}

function mirrorOfCentral(xml) {
  const mirrors = xml.replace(/<!--.*?-->/gs, '').match(/<mirror>.*?<\/mirror>/gs) ?? [];
  const found = mirrors.find((mirror) => {
    const of = textOf(mirror, 'mirrorOf')?.split(',') ?? [];
    return ['*', 'external:*', 'central'].some((name) => of.includes(name)) && !of.includes('!central');
  });
  return found && textOf(found, 'url');
}

function textOf(xml, tag) {
  return new RegExp(`<${tag}>\\s*(.*?)\\s*</${tag}>`, 's').exec(xml)?.[1];
}

function jarsOf(pins) {
  return pins
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [sha256, coordinates] = line.split('  ');
      const [group, artifact, version] = coordinates.split(':');
      const path = [...group.split('.'), artifact, version, `${artifact}-${version}.jar`].join('/');
      return { sha256, path };
    });
}

async function fetchAll(name, jars, { folder, from }) {
  if (jars.length === 0) return;
  console.log(`fetching ${name} (${jars.length} jars, once for this checkout) from ${from}`);
  mkdirSync(folder, { recursive: true });
  const queue = [...jars];
  const next = async () => {
    for (let jar = queue.shift(); jar !== undefined; jar = queue.shift())
      await fetchJar(jar, { folder, from });
  };
  await Promise.all(Array.from({ length: atOnce }, next));
}

async function fetchJar({ path, sha256 }, { folder, from }) {
  const bytes = await download(`${from}/${path}`);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256)
    throw new Failure(`${from}/${path} is not the jar that this project knows (its SHA-256 is ${found})`);
  // It gets its name last, so that one of that name is always whole.
  const file = join(folder, basename(path));
  const partial = `${file}.${process.pid}`;
  try {
    writeFileSync(partial, bytes);
    renameSync(partial, file);
  } finally {
    rmSync(partial, { force: true });
  }
}

async function download(url) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(attemptMs) });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return Buffer.from(await response.arrayBuffer());
    } catch (error) {
      if (attempt < attempts) continue;
      const reason = error.cause?.message ?? error.message;
      throw new Failure(
        `${url} could not be fetched: ${reason} (set ${variable} to a mirror of Maven Central that can be reached)`,
      );
    }
  }
}
