/** How one kind of server is started on a private port of 127.0.0.1, with its data in a folder of its own. */
import type { ServerKind } from '../databases/kinds.ts';
import { mariadbProgram } from './mariadb-program.ts';
import { postgresProgram } from './postgres-program.ts';

export interface ServerProgram {
  /** Found on PATH or in `folders`. */
  readonly binaries: readonly string[];
  readonly folders: () => readonly string[];
  /** What holds them on Debian. */
  readonly package: string;
  /** Whom it runs as when we are root. */
  readonly user: string;
  /** Files that it reads, by their name in the folder; for its eyes only. */
  readonly files: (secret: string) => Readonly<Record<string, string>>;
  /** Fills the data directory, once. */
  readonly prepare: (at: ServerPlace) => Command;
  readonly serve: (at: ServerPlace, port: number) => Command;
  /** The fastest end. What was committed is in its log by then, as after a crash. */
  readonly stopSignal: NodeJS.Signals;
  readonly url: (port: number, secret: string) => string;
}

export interface ServerPlace {
  /** Its data lies in `data` there. */
  readonly folder: string;
  /** The path of each of `binaries`. */
  readonly programs: Readonly<Record<string, string>>;
}

export type Command = readonly [program: string | undefined, args: readonly string[]];

export const serverPrograms: Readonly<Record<ServerKind, ServerProgram>> = {
  postgres: postgresProgram,
  mariadb: mariadbProgram,
};
