// Two commands started at once on a fresh clone must not install into the same folder at once.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cache } from './paths.mjs';

const pollMs = 200;

/** Runs the body while no other process of this machine runs one under the same name. */
export async function alone(name, body) {
  mkdirSync(cache, { recursive: true });
  const file = join(cache, `${name}.lock`);
  let hasWaited = false;
  while (!take(file)) {
    if (!hasWaited) console.log(`waiting for another command that has to ${name} first`);
    hasWaited = true;
    await sleep(pollMs);
  }
  try {
    return await body();
  } finally {
    rmSync(file, { force: true });
  }
}

function take(file) {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    if (!isAlive(readOwner(file))) rmSync(file, { force: true });
    return false;
  }
}

function readOwner(file) {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0;
  }
}

function isAlive(pid) {
  try {
    // An owner who has made the file but not yet written its number counts as alive.
    return pid === 0 || process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}
