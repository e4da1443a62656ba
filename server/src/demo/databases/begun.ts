/** What a folder of the demo remembers of its databases, so that a second run goes on with them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SettleError } from 'settle/core';
import { byService, serviceNames, type ByService } from '../service-names.ts';
import { databaseFile } from './database-file.ts';
import type { DatabaseKind } from './kinds.ts';

export interface Begun {
  readonly kinds: ByService<DatabaseKind>;
  /** Part of the name of each database on a server. */
  readonly run: string;
  /** The password of the servers that were started for it. */
  readonly secret: string;
}

/** undefined: nothing was made there. Throws `config_invalid` when it was begun with other databases. */
export function begunIn(dir: string, wanted: ByService<DatabaseKind>): Begun | undefined {
  const begun = readBegun(dir);
  if (begun === undefined || serviceNames.every((service) => begun.kinds[service] === wanted[service])) {
    return begun;
  }
  const kinds = serviceNames.map((service) => begun.kinds[service]).join(',');
  throw new SettleError('config_invalid', `${dir} was begun with other databases`, {
    next: `Go on with --databases ${kinds}, or choose another --dir`,
  });
}

function readBegun(dir: string): Begun | undefined {
  // Written by the function below.
  if (existsSync(fileIn(dir))) return JSON.parse(readFileSync(fileIn(dir), 'utf8')) as Begun;
  // Folders of Settle before there was a choice.
  if (!existsSync(databaseFile(dir, 'orders'))) return undefined;
  return { kinds: byService(() => 'sqlite'), run: '', secret: '' };
}

/** Once everything is made. */
export function rememberBegun(dir: string, begun: Begun): void {
  writeFileSync(fileIn(dir), JSON.stringify(begun), { mode: 0o600 });
}

function fileIn(dir: string): string {
  return join(dir, 'databases.json');
}
