// What is published is what we mean to publish.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const run = promisify(execFile);

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly bin?: Record<string, string>;
  readonly engines?: { readonly node?: string };
  readonly sideEffects?: boolean;
  readonly exports?: Record<string, string | { readonly types: string; readonly default: string }>;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

interface Lockfile {
  readonly packages: Record<string, { readonly resolved?: string; readonly hasInstallScript?: boolean }>;
}

const lib = readJson('lib/package.json') as Manifest;
const server = readJson('server/package.json') as Manifest;
const subpaths = Object.keys(lib.exports ?? {}).filter((subpath) => subpath !== './package.json');

describe('the package settle', () => {
  let files: readonly string[];
  beforeAll(async () => {
    files = await packedFiles('lib');
  });

  test('holds its manifest, README, LICENSE and dist, and nothing else', () => {
    const others = files.filter((file) => !file.startsWith('dist/'));
    expect(others.toSorted()).toEqual(['LICENSE', 'README.md', 'package.json']);
  });

  test('holds no test, no note of the compiler and no map to sources that stay behind', () => {
    expect(files.filter((file) => /\.test\.|tsbuildinfo|\.d\.ts\.map$|(?<!\.d)\.ts$/.test(file))).toEqual([]);
  });

  test('has no dependencies of any kind', () => {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = lib;
    expect({ dependencies, devDependencies, optionalDependencies, peerDependencies }).toEqual({});
  });

  test('has no side effects, the floor node 22.14, and the licence of the repository', () => {
    expect(lib).toMatchObject({ sideEffects: false, engines: { node: '>=22.14' }, license: 'Apache-2.0' });
  });

  test.each(subpaths)('%s leads to code and types that are in the package', (subpath) => {
    const entry = lib.exports?.[subpath];
    expect(entry).toEqual({ types: expect.any(String), default: expect.any(String) });
    if (entry === undefined || typeof entry === 'string') return;
    expect(files).toContain(entry.default.replace('./', ''));
    expect(files).toContain(entry.types.replace('./', ''));
  });

  test.each(subpaths)('%s can be imported by plain node, and prints nothing', async (subpath) => {
    const name = subpath.replace('.', 'settle');
    const script = `const names = Object.keys(await import('${name}')); if (names.length === 0) process.exit(3)`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: root });
    expect(stdout).toBe('');
  });
});

describe('the packed settle, unpacked', () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'settle-unpacked-'));
    await pack('lib', folder);
    await run('tar', ['-xzf', `settle-${lib.version}.tgz`], { cwd: folder });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('holds no switch for bugs or crashes, and nothing that asks for one', () => {
    const asking = modules().filter(({ code }) => /\b(?:planted|plant|crashPoint)\(/.test(code));
    expect(asking.map(({ path }) => path)).toEqual([]);
    expect(modules().filter(({ path }) => /planted-bug|crash-point/.test(path))).toEqual([]);
  });

  test('imports nothing that was left out', () => {
    const missing = modules().flatMap(({ path, code }) =>
      [...code.matchAll(/^(?:import|export)\b[^'";]*?from '(\.[^']+)'/gm)]
        .map(([, imported = '']) => join(dirname(path), imported))
        .filter((target) => !existsSync(target)),
    );
    expect(missing).toEqual([]);
  });

  test('runs a saga', async () => {
    const script = `
      import { Refused, saga } from './package/dist/client/index.js';
      import { openCoordinator } from './package/dist/embedded/index.js';
      import { memoryStore } from './package/dist/store/memory/index.js';
      const story = [];
      const order = saga('order')
        .step('reserve', { do: () => void story.push('reserve'), undo: () => void story.push('give back') })
        .step('charge', { do: () => { throw new Refused('no money'); } });
      const coordinator = await openCoordinator({ store: memoryStore(), definitions: [order] });
      const { status } = await coordinator.run(order, {});
      await coordinator.close();
      console.log(status, story.join(', '));`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder });
    expect(stdout.trim()).toBe('aborted reserve, give back');
  });

  function modules(): readonly { readonly path: string; readonly code: string }[] {
    return readdirSync(join(folder, 'package/dist'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.js'))
      .map((file) => join(folder, 'package/dist', file))
      .map((path) => ({ path, code: readFileSync(path, 'utf8') }));
  }
});

describe('the package settle-server', () => {
  test('holds its manifest, README, LICENSE and dist with the settle command, and no test', async () => {
    const files = await packedFiles('server');
    const others = files.filter((file) => !file.startsWith('dist/'));
    expect(others.toSorted()).toEqual(['LICENSE', 'README.md', 'package.json']);
    expect(files).toContain(server.bin?.['settle']);
    expect(files.filter((file) => /\.test\.|tsbuildinfo/.test(file))).toEqual([]);
  });

  test('starts its command with the line that lets a shell run it', () => {
    const command = readFileSync(join(root, 'server', server.bin?.['settle'] ?? ''), 'utf8');
    expect(command.split('\n')[0]).toBe('#!/usr/bin/env node');
  });

  test('depends on exactly the settle it is released with', () => {
    expect(server.version).toBe(lib.version);
    expect(server.dependencies?.['settle']).toBe(lib.version);
  });
});

describe('the repository', () => {
  test.each([
    'package.json',
    'lib/package.json',
    'server/package.json',
    'bench/package.json',
    'examples/package.json',
  ])('%s pins exact versions', (path) => {
    const { dependencies, devDependencies } = readJson(path) as Manifest;
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, v]) => !/^\d+\.\d+\.\d+$/.test(v),
    );
    expect(loose).toEqual([]);
  });

  test('names no download address in the lockfile, only its own workspaces', () => {
    const { packages } = readJson('package-lock.json') as Lockfile;
    const addresses = Object.values(packages).flatMap(({ resolved }) =>
      resolved === undefined ? [] : [resolved],
    );
    expect(addresses.filter((address) => !existsSync(join(root, address, 'package.json')))).toEqual([]);
  });

  test('installs nothing that runs a script at install time', () => {
    const { packages } = readJson('package-lock.json') as Lockfile;
    const { allowScripts } = readJson('package.json') as { readonly allowScripts: Record<string, boolean> };
    const scripted = Object.entries(packages).filter(([, entry]) => entry.hasInstallScript === true);
    // These bring their binaries. npm marks fsevents, which is for macOS alone, and would run node-gyp for
    // better-sqlite3 because of its binding.gyp; we install with --ignore-scripts, and deny the second to npm itself.
    const harmless = (path: string) =>
      path.endsWith('/fsevents') || allowScripts[path.replace('node_modules/', '')] === false;
    expect(scripted.map(([path]) => path).filter((path) => !harmless(path))).toEqual([]);
  });
});

/** The paths inside the tarball that npm would publish. */
async function packedFiles(workspace: string): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-pack-'));
  try {
    return await pack(workspace, folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function pack(workspace: string, folder: string): Promise<readonly string[]> {
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
    cwd: join(root, workspace),
    shell: process.platform === 'win32',
  });
  // An array in some versions of npm, an object by package name in others.
  const packed = Object.values(JSON.parse(stdout) as Record<string, { files: { path: string }[] }>)[0];
  return packed?.files.map((file) => file.path) ?? [];
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}
