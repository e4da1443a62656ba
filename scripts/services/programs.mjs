import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Gives back the path of an installed program; PATH goes first. */
export function findProgram(program, folders = [], path = process.env.PATH ?? '') {
  return [...path.split(delimiter), ...folders]
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, program))
    .find(isProgram);
}

function isProgram(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
