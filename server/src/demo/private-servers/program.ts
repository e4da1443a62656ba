/** The programs that were started here. They are ended by the ids we got from starting them, and by no other means. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { messageOf } from '../../message-of.ts';
import type { Identity } from './identity.ts';
import type { Command } from './server-program.ts';

export interface Program {
  /** Resolves with how it ended: `with exit code 0`. */
  readonly ended: Promise<string>;
  /** The same, once it is known. */
  readonly end: () => string | undefined;
  readonly lastWords: () => string;
  stop(): Promise<void>;
}

export interface ProgramOptions {
  /** Where it works. What it says goes into a file beside it. */
  readonly folder: string;
  readonly identity: Identity;
  /** SIGKILL ends whatever it has started, too; any other signal it has to pass on. */
  readonly stopSignal: NodeJS.Signals;
}

const living = new Set<Program>();
let closed = false;

export function startProgram([file = '', args]: Command, options: ProgramOptions): Program {
  if (closed) throw new Error('the demo has ended');
  const { folder, identity, stopSignal } = options;
  const log = `${folder}.log`;
  const output = openSync(log, 'a');
  const child = spawn(file, args, {
    ...identity,
    cwd: folder,
    // A group of its own: a shell script among them is ended with what it started.
    detached: true,
    stdio: ['ignore', output, output],
    // They look for no settings in anybody's home, and write where they may.
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, TMPDIR: folder, LC_ALL: 'C' },
  });
  closeSync(output);
  let end: string | undefined;
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`before it began: ${messageOf(error)}`));
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `with exit code ${code}` : `by ${signal}`),
    );
  });
  const program: Program = {
    ended,
    end: () => end,
    lastWords: () => readFileSync(log, 'utf8').trimEnd().split('\n').slice(-5).join('\n'),
    async stop() {
      if (end === undefined && child.pid !== undefined) send(child.pid, stopSignal);
      await ended;
    },
  };
  living.add(program);
  void ended.then((how) => {
    end = how;
    living.delete(program);
  });
  return program;
}

/** Ends whatever runs; nothing is started afterwards. */
export async function endAllPrograms(): Promise<void> {
  closed = true;
  await Promise.all([...living].map((program) => program.stop()));
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(signal === 'SIGKILL' ? -pid : pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}
