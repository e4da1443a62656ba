/** Which database each service shall have, as asked for. */
import { SettleError } from 'settle/core';
import type { Parsed } from '../../config-option.ts';
import { byService, serviceNames, type ByService } from '../service-names.ts';
import { serverKinds, type DatabaseKind, type ServerKind } from './kinds.ts';

export interface DatabaseChoice {
  /** In the order of the services; fewer than those begin again from the first. */
  readonly kinds: readonly DatabaseKind[];
  /** Servers that are there already. Of a kind without one, the demo starts its own. */
  readonly urls: ReadonlyMap<ServerKind, string>;
}

/** `postgres`, or `postgres=postgres://127.0.0.1`. */
export interface DatabaseItem {
  readonly kind: DatabaseKind;
  readonly url: string | undefined;
}

const schemes: Readonly<Record<ServerKind, RegExp>> = {
  postgres: /^postgres(?:ql)?:\/\/./,
  mariadb: /^(?:mysql|mariadb):\/\/./,
};

export function parseDatabaseItem(input: unknown): Parsed<DatabaseItem> {
  const [, name, url] = /^(\w+)(?:=(.*))?$/.exec(String(input)) ?? [];
  if (name === 'sqlite' && url === undefined) return { kind: 'value', value: { kind: name, url } };
  const kind = serverKinds.find((known) => known === name);
  if (kind !== undefined && (url === undefined || (schemes[kind].test(url) && URL.canParse(url)))) {
    return { kind: 'value', value: { kind, url } };
  }
  return {
    kind: 'wrong',
    must: 'sqlite, postgres or mariadb, or a server such as postgres=postgres://user:password@host:5432 or mariadb=mysql://user:password@host:3306',
  };
}

/** SQLite for all when nothing is asked for. Throws `config_invalid` for what does not fit together. */
export function chosenDatabases(items: readonly DatabaseItem[]): DatabaseChoice {
  if (items.length > serviceNames.length) {
    throw invalid(
      `--databases names ${items.length} databases`,
      `There are ${serviceNames.length} services, ${serviceNames.join(', ')}: name one for each, or fewer`,
    );
  }
  const urls = new Map<ServerKind, string>();
  for (const { kind, url } of items) {
    if (kind === 'sqlite' || url === undefined) continue;
    // The URLs themselves may hold passwords.
    if ((urls.get(kind) ?? url) !== url) {
      throw invalid(
        `--databases gives two different servers for ${kind}`,
        'Give one, the services get databases of their own on it',
      );
    }
    urls.set(kind, url);
  }
  return { kinds: items.length === 0 ? ['sqlite'] : items.map(({ kind }) => kind), urls };
}

export function kindsByService({ kinds }: DatabaseChoice): ByService<DatabaseKind> {
  return byService((service) => kinds[serviceNames.indexOf(service) % kinds.length] ?? 'sqlite');
}

function invalid(what: string, next: string): SettleError {
  return new SettleError('config_invalid', what, { next });
}
