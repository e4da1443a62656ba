// Where things lie in this repository.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const toolchain = join(root, '.toolchain');
export const cache = join(root, '.cache');
export const modules = join(root, 'node_modules');
export const serverMain = join(root, 'server', 'dist', 'main.js');
