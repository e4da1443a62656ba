// Installs what package-lock.json says, and nothing when that is installed already.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { npm, run } from './child.mjs';
import { Failure } from './failure.mjs';
import { alone } from './lock.mjs';
import { modules, root } from './paths.mjs';

const stamp = join(modules, '.settle-install.json');
const lockfile = join(root, 'package-lock.json');

export async function install() {
  if (!isUpToDate()) await alone('install', installUnlessDone);
}

async function installUnlessDone() {
  if (isUpToDate()) return;
  const wanted = wantedStamp();
  const found = readJson(stamp);

  // After an `npm install some-package` by hand the tree is right already; only the stamp is old.
  const isInstalled = found?.nodeMajor === wanted.nodeMajor && lockfileIsInstalled();
  if (!isInstalled) await installFromLockfile();
  mkdirSync(modules, { recursive: true });
  writeFileSync(stamp, JSON.stringify(wanted));
}

function isUpToDate() {
  const [wanted, found] = [wantedStamp(), readJson(stamp)];
  return found?.lockfile === wanted.lockfile && found.nodeMajor === wanted.nodeMajor;
}

/** A package built for one major of Node need not load in another; within a major it does. */
function wantedStamp() {
  return { lockfile: digestOf(lockfile), nodeMajor: process.versions.node.split('.')[0] };
}

async function installFromLockfile() {
  console.log('installing dependencies from package-lock.json');
  rmSync(stamp, { force: true });
  const [program, ...first] = npm();
  const code = await run(program, [
    ...first,
    'ci',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
  ]);
  if (code !== 0) {
    throw new Failure(
      `the dependencies could not be installed: npm ci ended with exit code ${code}, for the reason it gives above.\n` +
        'No answer from the registry (ETIMEDOUT, ENOTFOUND): check the network or the proxy, then run the command again.\n' +
        'package.json and package-lock.json differ (EUSAGE): run npm install and commit the lockfile.',
    );
  }
}

/** Compares the lockfile with npm's own note of what lies in node_modules. */
function lockfileIsInstalled() {
  const wanted = readJson(lockfile)?.packages ?? {};
  const installed = readJson(join(modules, '.package-lock.json'))?.packages ?? {};
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith('node_modules/') || entry.link) return true;
    const there = installed[path];
    return there
      ? there.version === entry.version && there.integrity === entry.integrity
      : entry.optional === true;
  });
}

function digestOf(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

function readJson(path) {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
