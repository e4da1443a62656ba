/** Whom a server runs as: PostgreSQL and MariaDB refuse to run as root, and others need not. */
import { execFileSync } from 'node:child_process';
import { chownSync } from 'node:fs';

/** Empty: as whoever we are. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** The user of the package, else nobody, when we are root; nothing to change when we are not. */
export function identityOf(user: string): Identity {
  if (process.getuid?.() !== 0) return {};
  return idsOf(user) ?? idsOf('nobody') ?? {};
}

export function handOver(path: string, { uid, gid }: Identity): void {
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
}

function idsOf(user: string): Identity | undefined {
  try {
    const id = (option: string): number =>
      Number(execFileSync('id', [option, user], { stdio: ['ignore', 'pipe', 'ignore'] }));
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}
