// Builds lib and server with `tsc -b`, which does only what changed, and removes what sources no longer stand behind.
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from './child.mjs';
import { cache, modules, root, serverMain } from './paths.mjs';

const configs = [
  'tsconfig.base.json',
  'tsconfig.json',
  'tsconfig.test.json',
  'test/local/legacy-decorators/tsconfig.json',
  'lib/tsconfig.json',
  'server/tsconfig.json',
];
const buildInfos = [
  'lib/dist/.tsbuildinfo',
  'server/dist/.tsbuildinfo',
  '.cache/test.tsbuildinfo',
  '.cache/test-legacy.tsbuildinfo',
];

/** Type checks and emits one or more projects; gives back the exit code of tsc. */
export async function compile(projects = ['lib', 'server']) {
  forgetOnNewOptions();
  removeOrphans('lib');
  removeOrphans('server');
  const code = await runTool('typescript', ['-b', ...projects], { command: 'tsc' });
  if (existsSync(serverMain)) chmodSync(serverMain, 0o755);
  return code;
}

/** tsc repeats the errors of its last run when only options in an extended config, or its own version, changed. */
function forgetOnNewOptions() {
  const hash = createHash('sha256');
  for (const file of [
    ...configs.map((config) => join(root, config)),
    join(modules, 'typescript', 'package.json'),
  ]) {
    hash.update(readFileSync(file));
  }
  const wanted = hash.digest('hex');
  const stamp = join(cache, 'tsc-options');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  for (const info of buildInfos) rmSync(join(root, info), { force: true });
  mkdirSync(cache, { recursive: true });
  writeFileSync(stamp, wanted);
}

/** A deleted or renamed source would otherwise live on in dist, and in the package. */
function removeOrphans(workspace) {
  const dist = join(root, workspace, 'dist');
  if (!existsSync(dist)) return;
  for (const file of readdirSync(dist, { recursive: true })) {
    const stem = /^(.+?)(\.d\.ts|\.js)(\.map)?$/.exec(file)?.[1];
    if (stem === undefined) continue;
    const source = join(root, workspace, 'src', `${stem}.ts`);
    if (!existsSync(source) || stem.endsWith('.test')) rmSync(join(dist, file), { force: true });
  }
}
