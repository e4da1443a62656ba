/** Peers are installed outside the workspace, on demand: they are no dependency of anything in it. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** One folder per set of exact versions, in the user's own cache: `$XDG_CACHE_HOME` or `~/.cache`. */
export async function install(packages: Readonly<Record<string, string>>): Promise<string> {
  const wanted = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const folder = join(cache, 'settle-bench-peers', wanted.join('+').replaceAll(/[^\w.@+-]/g, '-'));

  // npm writes this file last.
  if (existsSync(join(folder, 'node_modules', '.package-lock.json'))) return folder;
  console.log(`installing ${wanted.join(', ')} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const flags = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--save-exact'];
  await promisify(execFile)('npm', ['install', ...flags, ...wanted], { cwd: folder });
  return folder;
}
