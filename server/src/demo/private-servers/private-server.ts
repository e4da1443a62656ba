/** Starts a server on a private port of 127.0.0.1, with its data in a folder of its own. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../message-of.ts';
import { openServer } from '../databases/database-server.ts';
import type { ServerKind } from '../databases/kinds.ts';
import { freePort } from '../free-port.ts';
import { handOver, identityOf } from './identity.ts';
import { startProgram, type Program } from './program.ts';
import { serverPrograms } from './server-program.ts';

export interface PrivateServerOptions {
  readonly kind: ServerKind;
  /** The path of each program it needs. */
  readonly programs: Readonly<Record<string, string>>;
  /** Ours alone. One that is there already holds the data of an earlier run, with the same secret. */
  readonly folder: string;
  /** The password of its only user. */
  readonly secret: string;
}

export interface PrivateServer {
  readonly url: string;
  readonly program: Program;
}

/** Milliseconds until a server has to be ready, and between two questions whether it is. */
const readyMs = 30_000;
const pollMs = 20;

/** Throws with the last words of a server that did not get so far. */
export async function startPrivateServer(options: PrivateServerOptions): Promise<PrivateServer> {
  const { kind, programs, folder, secret } = options;
  const { user, files, prepare, serve, stopSignal, url } = serverPrograms[kind];
  const identity = identityOf(user);
  const isNew = !existsSync(folder);
  if (isNew) mkdirSync(folder, { mode: 0o700 });
  handOver(folder, identity);
  for (const [name, text] of Object.entries(files(secret))) {
    const file = join(folder, name);
    writeFileSync(file, `${text}\n`, { mode: 0o600 });
    handOver(file, identity);
  }
  if (isNew) {
    const preparing = startProgram(prepare({ folder, programs }), {
      folder,
      identity,
      stopSignal: 'SIGKILL',
    });
    if ((await preparing.ended) !== 'with exit code 0') throw new Error(lastOf(preparing));
  }
  // Somebody may take the port before the server does. It then ends, and says why.
  const port = await freePort(0);
  const program = startProgram(serve({ folder, programs }, port), { folder, identity, stopSignal });
  await ready(kind, url(port, secret), program);
  return { url: url(port, secret), program };
}

/** Asks until it answers. */
async function ready(kind: ServerKind, url: string, program: Program): Promise<void> {
  const deadline = performance.now() + readyMs;
  for (;;) {
    const refusal = await openServer(kind, url).then(
      (server) => server.close(),
      (error: unknown) => messageOf(error),
    );
    // Somebody else may answer at our port while ours could not take it.
    if (program.end() !== undefined) throw new Error(lastOf(program));
    if (refusal === undefined) return;
    if (performance.now() > deadline) throw new Error(`${refusal}\n${program.lastWords()}`);
    await new Promise((done) => {
      setTimeout(done, pollMs);
    });
  }
}

function lastOf(program: Program): string {
  return `it ended ${program.end()}: ${program.lastWords()}`;
}
