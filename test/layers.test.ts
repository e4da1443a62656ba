// Who may import whom. The table is the architecture: change it on purpose, with ARCHITECTURE.md.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

interface Layer {
  /** Other folders or single files of lib/src. What lies in the layer itself is always allowed. */
  readonly imports: readonly string[];
  /** Modules of Node: none, or those named, or every one. Node is reached through these layers alone. */
  readonly node?: readonly string[] | 'any';
}

/** Of lib/src. A file belongs to the longest name that its path starts with. */
const layers: Record<string, Layer> = {
  util: { imports: [] },
  core: { imports: ['util'] },
  observe: { imports: ['core', 'util'] },
  define: { imports: ['core', 'util'] },
  engine: { imports: ['core', 'observe', 'util'] },
  http: { imports: ['util'], node: 'any' },
  store: { imports: ['engine/ports', 'core', 'util'] },
  'store/memory': { imports: ['engine/ports', 'core', 'util'] },
  'store/sqlite': { imports: ['engine/ports', 'core', 'util'], node: 'any' },
  wire: { imports: ['core', 'util'], node: ['node:crypto'] },
  caller: { imports: ['engine/ports', 'wire', 'http', 'define', 'core', 'util'] },
  api: { imports: ['engine', 'wire', 'core', 'util'] },
  client: { imports: ['define', 'wire', 'http', 'core', 'util'] },
  embedded: {
    imports: [
      'engine',
      'observe',
      'caller',
      'client',
      'define',
      'wire',
      'http',
      'store/memory',
      'core',
      'util',
    ],
    node: 'any',
  },
  participant: { imports: ['wire', 'define', 'http', 'core', 'util'] },
  'participant/glue': { imports: ['participant', 'wire', 'define', 'http', 'core', 'util'], node: 'any' },
  'participant/local': {
    imports: [
      'participant',
      'participant/mysql',
      'participant/postgres',
      'participant/sqlite',
      'local',
      'wire',
      'define',
      'http',
      'core',
      'util',
    ],
  },
  'participant/mysql': { imports: ['participant', 'wire', 'define', 'http', 'core', 'util'] },
  'participant/postgres': { imports: ['participant', 'wire', 'define', 'http', 'core', 'util'] },
  'participant/redis': {
    imports: ['participant', 'wire', 'define', 'http', 'core', 'util'],
    node: ['node:crypto'],
  },
  'participant/sqlite': { imports: ['participant', 'wire', 'define', 'http', 'core', 'util'], node: 'any' },
  local: { imports: ['util'], node: ['node:async_hooks'] },
  'local/adapters': { imports: ['local', 'util'], node: ['node:async_hooks'] },
  'local/glue': { imports: ['local', 'util'] },
  outbox: { imports: ['local', 'define/standard-schema', 'util'] },
  relay: { imports: ['outbox', 'local', 'util'] },
  'relay/publishers': {
    imports: ['relay', 'outbox', 'client', 'http', 'wire', 'util'],
    node: ['node:crypto'],
  },
  inbox: { imports: ['local', 'util'] },
  consumer: {
    imports: ['inbox', 'outbox', 'define/answers', 'define/standard-schema', 'local', 'http', 'wire', 'util'],
  },
  testing: { imports: ['anything in lib'] },
};

/** The simulator drives lib from within, by its sources: it may import anything in lib, and nothing of the server. */
const insiders = ['sim'];

/** These see lib as a user does: by its public subpaths, and with packages they declare themselves. */
const users = ['server', 'bench', 'examples'];

const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface SourceFile {
  /** From the root of the repository, with slashes: `lib/src/core/saga.ts`. */
  readonly path: string;
  readonly imports: readonly string[];
}

describe('the layers', () => {
  test('every import goes where the table allows', () => {
    const files = ['lib/src', ...insiders, ...users].flatMap(sourceFilesIn);
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap(violations)).toEqual([]);
  });

  test('every folder of lib/src has a line in the table', () => {
    const folders = readdirSync(join(root, 'lib/src'), { withFileTypes: true }).filter((e) =>
      e.isDirectory(),
    );
    expect(folders.map((folder) => folder.name).filter((name) => !(name in layers))).toEqual([]);
  });

  test('every name in the table stands in the table, or is a file of lib', () => {
    const named = new Set(Object.values(layers).flatMap((layer) => layer.imports));
    const unknown = [...named].filter(
      (name) =>
        !(name in layers) && name !== 'anything in lib' && !existsSync(join(root, 'lib/src', `${name}.ts`)),
    );
    expect(unknown).toEqual([]);
  });
});

describe('the rule itself, on made-up files', () => {
  const allowed: SourceFile[] = [
    { path: 'lib/src/core/saga.ts', imports: ['./plan.ts', '../util/assert.ts'] },
    { path: 'lib/src/store/sqlite/index.ts', imports: ['node:sqlite', '../../engine/ports.ts'] },
    { path: 'lib/src/wire/signature.ts', imports: ['node:crypto'] },
    { path: 'lib/src/testing/index.ts', imports: ['../store/contract.ts', '../engine/loop.ts'] },
    { path: 'lib/src/store/sqlite/store.test.ts', imports: ['vitest', '../contract.ts', 'node:fs'] },
    { path: 'server/src/main.ts', imports: ['settle/engine', 'undici', 'node:http', './config.ts'] },
    { path: 'bench/saga/main.ts', imports: ['settle', '../machine.ts', 'node:os'] },
    { path: 'bench/outbox/brokers.ts', imports: ['../../scripts/services/keep.mjs'] },
    { path: 'sim/src/run.ts', imports: ['../../lib/src/engine/engine.ts', './guard.ts', 'node:net'] },
  ];
  test.each(allowed)('lets $path import $imports', (file) => {
    expect(violations(file)).toEqual([]);
  });

  const refused: [path: string, imported: string, complaint: string][] = [
    ['lib/src/util/a.ts', '../core/saga.ts', 'util may import only nothing else'],
    ['lib/src/core/saga.ts', '../engine/loop.ts', 'core may import only util'],
    [
      'lib/src/client/index.ts',
      '../engine/ports.ts',
      'client may import only define, wire, http, core, util',
    ],
    [
      'lib/src/store/memory/index.ts',
      '../sqlite/index.ts',
      'store/memory may import only engine/ports, core, util',
    ],
    [
      'lib/src/store/memory/index.ts',
      '../contract.ts',
      'store/memory may import only engine/ports, core, util',
    ],
    [
      'lib/src/store/sqlite/index.ts',
      '../../engine/loop.ts',
      'store/sqlite may import only engine/ports, core, util',
    ],
    ['lib/src/engine/loop.ts', 'node:crypto', 'engine may import no module of Node'],
    ['lib/src/wire/headers.ts', 'node:fs', 'wire may import of Node only node:crypto'],
    ['lib/src/engine/loop.ts', 'fs', 'engine may import no module of Node'],
    ['lib/src/http/pool.ts', 'undici', 'lib may import no package'],
    ['lib/src/newcomer/a.ts', '../util/a.ts', 'newcomer has no line in the table'],
    ['lib/src/core/saga.ts', './plan.js', 'a relative import names the .ts file'],
    ['server/src/main.ts', 'settle/engine/loop', 'server may import only the public subpaths of settle'],
    ['server/src/main.ts', '../../lib/src/core/saga.ts', 'server may not reach outside its own folder'],
    [
      'bench/saga/main.ts',
      'settle/dist/core/index.js',
      'bench may import only the public subpaths of settle',
    ],
    ['bench/saga/main.ts', '../../test/services/nats.ts', 'bench may not reach outside its own folder'],
    ['sim/src/run.ts', '../../server/src/main.ts', 'sim may not reach outside its own folder'],
    ['sim/src/run.ts', 'settle-server', 'sim/package.json does not list it'],
    ['examples/a/main.ts', 'left-pad', 'examples/package.json does not list it'],
  ];
  test.each(refused)('refuses that %s imports %s', (path, imported, complaint) => {
    expect(violations({ path, imports: [imported] })).toEqual([
      `${path}: imports ${imported}, but ${complaint}`,
    ]);
  });

  test('finds every way to import, and none inside comments or templates', () => {
    const source = [
      "import type { A } from './a.ts';",
      "import {\n  b,\n  c,\n} from './b.ts';",
      "import './c.ts';",
      "export * from './d.ts';",
      "export { e } from './e.ts';",
      "const f = await import('./f.ts');",
      "type G = import('./g.ts').G;",
      "const worker = new Worker(new URL('./h.ts', import.meta.url));",
      "/** @example\n * import { x } from 'settle'\n */",
      "// import y from 'y'",
      'const template = `\nimport z from "z"\n`;',
      "const text = \"it's from 'nowhere'\";",
    ].join('\n');
    expect(importsOf(source).toSorted()).toEqual('abcdefgh'.split('').map((name) => `./${name}.ts`));
  });
});

function violations(file: SourceFile): string[] {
  const judge = file.path.startsWith('lib/') ? complaintInLib : complaintOfUser;
  return file.imports.flatMap((imported) => {
    const complaint = judge(file.path, imported);
    return complaint === undefined ? [] : [`${file.path}: imports ${imported}, but ${complaint}`];
  });
}

function complaintInLib(path: string, imported: string): string | undefined {
  const name = layerOf(path);
  const layer = layers[name];
  if (layer === undefined) return `${name} has no line in the table`;
  const isTest = path.endsWith('.test.ts');
  if (!imported.startsWith('.')) {
    if (isTest) return undefined;
    return isNodeModule(imported) ? complaintAboutNode(name, layer, imported) : 'lib may import no package';
  }
  if (!imported.endsWith('.ts')) return 'a relative import names the .ts file';
  if (isTest) return undefined;
  const target = posix.join(posix.dirname(path), imported);
  const isAllowed =
    layerOf(target) === name ||
    layer.imports.some((entry) => entry === 'anything in lib' || isWithin(target, `lib/src/${entry}`));
  return isAllowed ? undefined : `${name} may import only ${layer.imports.join(', ') || 'nothing else'}`;
}

function complaintAboutNode(name: string, layer: Layer, imported: string): string | undefined {
  if (layer.node === 'any') return undefined;
  if (layer.node === undefined) return `${name} may import no module of Node`;
  return layer.node.includes(imported)
    ? undefined
    : `${name} may import of Node only ${layer.node.join(', ')}`;
}

function complaintOfUser(path: string, imported: string): string | undefined {
  const workspace = path.slice(0, path.indexOf('/'));
  if (imported.startsWith('.')) {
    const target = posix.join(posix.dirname(path), imported);
    // Brokers come from where the tests have theirs.
    if (workspace === 'bench' && target.startsWith('scripts/services/')) return undefined;
    if (!imported.endsWith('.ts') && !imported.endsWith('.json'))
      return 'a relative import names the .ts file';
    if (insiders.includes(workspace) && target.startsWith('lib/src/')) return undefined;
    return isWithin(target, workspace) ? undefined : `${workspace} may not reach outside its own folder`;
  }
  if (isNodeModule(imported)) return undefined;
  if (imported === 'settle' || imported.startsWith('settle/')) {
    const subpath = imported.replace('settle', '.');
    return subpath in publicSubpaths
      ? undefined
      : `${workspace} may import only the public subpaths of settle`;
  }
  if (path.endsWith('.test.ts')) return undefined;
  const packageName = imported.split('/', imported.startsWith('@') ? 2 : 1).join('/');
  const { dependencies = {} } = manifest(workspace);
  return packageName in dependencies ? undefined : `${workspace}/package.json does not list it`;
}

/** A part of the table only where the longest of its names fits, so `store/sqlite` is not `store`. */
function layerOf(path: string): string {
  const names = Object.keys(layers).filter((name) => isWithin(path, `lib/src/${name}`));
  const longest = names.toSorted((a, b) => b.length - a.length)[0];
  return longest ?? path.split('/')[2] ?? path;
}

function isWithin(path: string, place: string): boolean {
  if (path === `${place}.ts`) return true;
  if (!path.startsWith(`${place}/`)) return false;
  // `participant` allows its own files, not the layers nested in it.
  const nested = Object.keys(layers).filter((name) => `lib/src/${name}`.startsWith(`${place}/`));
  return !nested.some((name) => path.startsWith(`lib/src/${name}/`));
}

function isNodeModule(imported: string): boolean {
  return imported.startsWith('node:') || builtinModules.includes(imported);
}

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly exports?: Record<string, unknown>;
}

function manifest(workspace: string): Manifest {
  return JSON.parse(readFileSync(join(root, workspace, 'package.json'), 'utf8')) as Manifest;
}

const publicSubpaths = manifest('lib').exports ?? {};

function sourceFilesIn(folder: string): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => posix.join(folder, name.replaceAll('\\', '/')))
    .filter((path) => /\.m?ts$/.test(path) && !/(^|\/)(node_modules|dist)\//.test(path))
    .map((path) => ({ path, imports: importsOf(readFileSync(join(root, path), 'utf8')) }));
}

const waysToImport = [
  /^\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]/gm,
  /^\s*import\s*['"]([^'"]+)['"]/gm,
  /\bimport\s*\(\s*['"]([^'"]+)['"]/g,
  /\bnew URL\(\s*['"](\.[^'"]+\.ts)['"]\s*,\s*import\.meta\.url/g,
];

function importsOf(source: string): string[] {
  const code = withoutCommentsAndTemplates(source);
  return waysToImport.flatMap((way) => [...code.matchAll(way)].map((match) => match[1] ?? ''));
}

/** Strings stay, since an import's name is one; what only looks like code goes. */
function withoutCommentsAndTemplates(source: string): string {
  const tokens =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|`(?:\\[\s\S]|[^`\\])*`|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g;
  return source.replace(tokens, (token) => (token.startsWith("'") || token.startsWith('"') ? token : ' '));
}
