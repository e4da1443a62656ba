// The code in the documentation compiles against the built packages; what claims to be an example is that example.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const coding = readdirSync(join(root, 'docs/coding')).map((name) => `coding/${name}`);
const pages = ['start.md', ...coding, 'operating/outbox.md'];

function blocksOf(page: string): readonly string[] {
  const text = readFileSync(join(root, 'docs', page), 'utf8');
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
}

describe('the documentation', () => {
  it('shows the first saga as its example has it', () => {
    expect(blocksOf('start.md')[0]).toBe(readFileSync(join(root, 'examples/saga-embedded/main.ts'), 'utf8'));
  });

  it('has code that compiles, the blocks of a page together', () => {
    // Inside the repository, where the packages are found.
    const folder = join(root, '.cache/docs');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const page of pages) {
      const blocks = page === 'start.md' ? blocksOf(page).slice(1) : blocksOf(page);
      expect(blocks.length).toBeGreaterThan(0);
      writeFileSync(join(folder, page.replace('/', '-').replace('.md', '.ts')), blocks.join('\n'));
    }
    const compilerOptions = { composite: false, noEmit: true, declaration: false, declarationMap: false };
    const config = { extends: '../../tsconfig.base.json', compilerOptions, include: ['*.ts'] };
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });
});
