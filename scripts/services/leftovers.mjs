// What is left when even the keeper was killed outright (SIGKILL, out of memory): found and removed by the next run.
import {
  appendFileSync,
  chmodSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const prefix = 'settle-services-';

/** A folder of this process alone; the users that the services run as may enter it, though not list it. */
export function makeBase() {
  const base = mkdtempSync(join(realpathSync(tmpdir()), `${prefix}${process.pid}-`));
  chmodSync(base, 0o711);
  return base;
}

export function removeBase(base) {
  // A program that was killed may still be writing its last file.
  rmSync(base, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

/** Notes the id of a program that was started for one service, beside its folder. */
export function remember(folder, pid) {
  appendFileSync(join(dirname(folder), 'pids'), `${pid}\n`);
}

export function removeLeftovers(among = realpathSync(tmpdir())) {
  for (const name of readdirSync(among)) {
    const owner = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    const base = join(among, name);
    try {
      // In a folder that everybody may write to, somebody else's is not ours to read.
      if (lstatSync(base).uid !== process.getuid?.()) continue;
      for (const pid of rememberedIn(base)) if (livesIn(pid, base)) process.kill(-pid, 'SIGKILL');
      removeBase(base);
    } catch (error) {
      console.warn(`${base} is left over from an earlier run and could not be removed: ${error.message}`);
    }
  }
}

function rememberedIn(base) {
  try {
    return readFileSync(join(base, 'pids'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Ids are used again; only a program that works inside our folder is the one that was started there. */
function livesIn(pid, base) {
  try {
    return `${readlinkSync(`/proc/${pid}/cwd`)}/`.startsWith(`${base}/`);
  } catch {
    return false;
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}
