/** Keeps one program: starts it, ends it when the bench says so or is gone, and removes its folder (program.ts). */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from './program.ts';

/** For a program that does not heed its signal. */
const killAfterMs = 5_000;

const { file, args, env, folder, stopSignal, uid, gid } = JSON.parse(process.argv[2] ?? '') as Program;
const log = join(folder, 'output.log');
const output = openSync(log, 'a');
let stopping = false;

// A group of its own: Ctrl-C in a terminal reaches everybody, and this process is to decide how the program ends.
const program = spawn(file, args, {
  cwd: folder,
  env: env ?? process.env,
  stdio: ['ignore', output, output],
  detached: true,
  ...(uid === undefined ? {} : { uid }),
  ...(gid === undefined ? {} : { gid }),
});
closeSync(output);

process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
process.on('SIGTERM', stop);
process.on('disconnect', stop);
program.once('error', (error) => end(error.message));
program.once('exit', (code, signal) =>
  end(stopping ? undefined : `ended with ${code ?? signal}\n${lastLines()}`),
);
program.once('spawn', () => process.send?.({ url: '' }));

function stop(): void {
  if (stopping) return;
  stopping = true;
  program.kill(stopSignal);
  setTimeout(() => program.kill('SIGKILL'), killAfterMs).unref();
}

function end(problem: string | undefined): void {
  if (problem !== undefined) console.error(`${file} ${problem}`);
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  process.exit(problem === undefined ? 0 : 1);
}

function lastLines(): string {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
}
