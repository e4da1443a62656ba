/** Finds the programs of a server on this machine. */
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of an installed program; PATH goes first. */
export function findProgram(
  program: string,
  folders: readonly string[] = [],
  path: string = process.env['PATH'] ?? '',
): string | undefined {
  return [...path.split(delimiter), ...folders]
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, program))
    .find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Debian puts each version of PostgreSQL into a folder of its own, none of them on PATH. */
export function debianPostgresFolders(): readonly string[] {
  const base = '/usr/lib/postgresql';
  if (!existsSync(base)) return [];
  const newestFirst = readdirSync(base).toSorted((a, b) => Number(b) - Number(a));
  return newestFirst.map((version) => join(base, version, 'bin'));
}
