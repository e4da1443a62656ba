// Whom a service runs as. PostgreSQL and MariaDB refuse to run as root, and the others need not.
import { execFileSync } from 'node:child_process';
import { chownSync } from 'node:fs';

/** The user of the package, else nobody, when we are root; nothing to change when we are not. */
export function identityOf(user) {
  if (process.getuid?.() !== 0) return {};
  return idsOf(user) ?? idsOf('nobody') ?? {};
}

export function handOver(folder, { uid, gid }) {
  if (uid !== undefined) chownSync(folder, uid, gid);
}

function idsOf(user) {
  try {
    const id = (option) =>
      Number(execFileSync('id', [option, user], { stdio: ['ignore', 'pipe', 'ignore'] }));
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}
