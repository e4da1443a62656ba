import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { typeStrippingFlags } from '../scripts/lib/node.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const code = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? '';

it('the saga of the README does what its comment says, in under 25 lines', async () => {
  expect(code.trim().split('\n').length).toBeLessThan(25);
  const promised = /\/\/ (.*)\n*$/.exec(code.trim())?.[1];
  await inFolderWithCode(async (folder) => {
    const { stdout } = await run(process.execPath, [...typeStrippingFlags(), 'readme.ts'], { cwd: folder });
    expect(stdout.trim()).toBe(promised);
  });
});

it('the saga of the README holds its types under strict', { timeout: 30_000 }, async () => {
  await inFolderWithCode(async (folder) => {
    const options = '--noEmit --strict --target esnext --module nodenext --types node'.split(' ');
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const said = await run(process.execPath, [tsc, ...options, '--ignoreConfig', 'readme.ts'], {
      cwd: folder,
    }).then(
      () => '',
      (error: { readonly stdout: string }) => error.stdout,
    );
    expect(said).toBe('');
  });
});

const run = promisify(execFile);

async function inFolderWithCode(use: (folder: string) => Promise<void>): Promise<void> {
  mkdirSync(join(root, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(root, '.cache', 'readme-'));
  try {
    writeFileSync(join(folder, 'readme.ts'), code);
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it('fits two screens', () => {
  expect(readme.split('\n').length).toBeLessThan(100);
});

it('links to files that exist', () => {
  const links = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, link = '']) => link);
  expect(links.length).toBeGreaterThan(5);
  expect(links.filter((link) => !existsSync(join(root, link)))).toEqual([]);
});
