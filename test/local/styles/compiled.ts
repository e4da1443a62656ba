import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/**
 * Has the real compiler check and emit files of this folder, with one kind of decorators; registers the hooks. Gives back
 * what imports one of them.
 */
export function compiledWith(
  experimentalDecorators: boolean,
  ...files: readonly string[]
): (name: string) => Promise<unknown> {
  // Inside the repository, where the packages are found.
  let folder: string;
  beforeAll(() => {
    mkdirSync(join(root, '.cache'), { recursive: true });
    folder = mkdtempSync(join(root, '.cache/decorators-'));
    const config = {
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: {
        experimentalDecorators,
        composite: false,
        declaration: false,
        declarationMap: false,
        rootDir: import.meta.dirname,
        outDir: folder,
        noUnusedLocals: false,
        types: [],
        typeRoots: [join(root, 'node_modules/@types')],
      },
      files: files.map((file) => join(import.meta.dirname, file)),
    };
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (name) => import(pathToFileURL(join(folder, `${name}.js`)).href) as Promise<unknown>;
}
