import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { dirname, join } from 'node:path';
import { type Child, stop } from './child.ts';

const settle = join(
  dirname(createRequire(import.meta.url).resolve('settle-server/package.json')),
  'dist/main.js',
);

/** `settle serve` on a free port, with the given store; ready when this resolves. */
export async function startServe(store: string, more: readonly string[] = []): Promise<Child> {
  const args = [settle, 'serve', '--port', '0', '--store', store, '--json', ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`settle serve ended with ${code} before it was ready`);
  });
  failed.catch(() => undefined);
  const url = await Promise.race([readyUrl(createInterface(child.stdout)), failed]);
  return { url, process: child, stop: () => stop(child) };
}

async function readyUrl(lines: AsyncIterable<string>): Promise<string> {
  for await (const line of lines) {
    const { event, url } = JSON.parse(line) as { event?: string; url?: string };
    if (event === 'ready' && url !== undefined) return url;
  }
  throw new Error('settle serve ended before it was ready');
}
