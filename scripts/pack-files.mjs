// Before a package is packed: every package carries the repository's README and LICENSE.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/paths.mjs';

for (const file of ['README.md', 'LICENSE']) copyFileSync(join(root, file), join(process.cwd(), file));
