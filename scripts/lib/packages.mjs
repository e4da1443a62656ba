// Packs the published packages and looks at them as a consumer would: publint and are-the-types-wrong.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from './build.mjs';
import { binOf, capture, npm, runTool } from './child.mjs';
import { Failure } from './failure.mjs';
import { cache, root } from './paths.mjs';

export async function checkPackages() {
  const built = await compile();
  if (built !== 0) return built;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'packed-'));
  try {
    const library = await pack('lib', folder);
    const server = await pack('server', folder);
    const codes = [
      await runTool('publint', ['--strict', library]),
      await runTool('publint', ['--strict', server]),
      // The server has a command and nothing to import, so there are no types to be wrong.
      await areTheTypesWrong(library),
    ];
    return codes.some((code) => code !== 0) ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Its table is worth reading only when something is wrong. */
async function areTheTypesWrong(tarball) {
  const args = ['--profile', 'esm-only', '--format', 'table-flipped', '--no-emoji', tarball];
  const { code, stdout, stderr } = await capture(process.execPath, [
    binOf('@arethetypeswrong/cli', 'attw'),
    ...args,
  ]);
  console.log(code === 0 ? 'The types of every entry point are right (attw).' : `${stdout}\n${stderr}`);
  return code;
}

async function pack(workspace, folder) {
  const [program, ...first] = npm();
  const into = join(folder, workspace);
  mkdirSync(into);
  const { code, stderr } = await capture(program, [...first, 'pack', '--pack-destination', into], {
    cwd: join(root, workspace),
  });
  if (code !== 0) throw new Failure(`npm pack failed in ${workspace}:\n${stderr.trim()}`);
  return join(into, readdirSync(into)[0]);
}
