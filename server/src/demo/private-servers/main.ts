/**
 * The process that holds the demo's own database servers. It ends them as soon as the demo closes the channel between
 * them, which the operating system does also for a demo that was killed outright; and then removes their data, unless it
 * is to stay.
 */
import { rmSync } from 'node:fs';
import { messageOf } from '../../message-of.ts';
import { startPrivateServer, type PrivateServer } from './private-server.ts';
import { endAllPrograms } from './program.ts';
import { settingsVariable, type ServersMessage, type ServersSettings } from './settings.ts';

// Written by the demo itself, in the same release.
const settings = JSON.parse(process.env[settingsVariable] ?? '{}') as ServersSettings;
let closing: Promise<void> | undefined;

process.once('disconnect', () => void close());
process.on('SIGTERM', () => void close());
// The terminal or the pipe that we share with a killed demo may be gone.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

try {
  const servers = await Promise.all(settings.servers.map(startPrivateServer));
  for (const server of servers) void watch(server);
  tell({ kind: 'ready', urls: servers.map(({ url }) => url) });
} catch (error) {
  tell({ kind: 'failed', reason: messageOf(error) });
}

/** A server that ends by itself takes us with it; the demo hears of that. */
async function watch({ program }: PrivateServer): Promise<void> {
  await program.ended;
  if (closing !== undefined) return;
  console.error(program.lastWords());
  process.exitCode = 1;
  await close();
}

function close(): Promise<void> {
  closing ??= endAllPrograms().finally(() => {
    if (!settings.keep) for (const { folder } of settings.servers) remove(folder);
    process.exit();
  });
  return closing;
}

function remove(folder: string): void {
  // A program that was killed may still be writing its last file.
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

function tell(message: ServersMessage): void {
  // The demo may be gone by now, which 'disconnect' tells us.
  process.send?.(message, () => {});
}
