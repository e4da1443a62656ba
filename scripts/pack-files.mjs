// `prepack` and `postpack`: every package carries the repository's README and LICENSE, and no test code. What `dist`
// held before is put back afterwards, since the tests of this checkout run on it.
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cache, root } from './lib/paths.mjs';
import { withoutTestCode } from './lib/test-code.mjs';

const dist = join(process.cwd(), 'dist');
const before = join(cache, 'before-packing', basename(process.cwd()));

if (process.argv[2] === 'after') putBack();
else {
  // A packing that was interrupted left its own behind.
  putBack();
  for (const file of ['README.md', 'LICENSE']) copyFileSync(join(root, file), join(process.cwd(), file));
  for (const file of readdirSync(dist, { recursive: true })) strip(file);
}

function strip(file) {
  // The switchboards themselves; nothing asks them any more.
  if (!file.endsWith('.js') || /util[\\/](?:planted-bug|crash-point)\.js$/.test(file)) return;
  const code = readFileSync(join(dist, file), 'utf8');
  const stripped = withoutTestCode(code, file);
  if (stripped === code) return;
  cpSync(join(dist, file), join(before, file));
  writeFileSync(join(dist, file), stripped);
}

function putBack() {
  if (!existsSync(before)) return;
  cpSync(before, dist, { recursive: true, preserveTimestamps: true });
  rmSync(before, { recursive: true });
}
