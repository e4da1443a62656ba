/** The built `settle` command as a user runs it: a real process, watched line by line. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));

export interface SettleProcess {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  /** Exit code, or 128 + the number of the signal that ended it. */
  readonly exit: Promise<number | string>;
  /** Resolves with the first stdout that matches; rejects when the process ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
}

export function startSettle(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): SettleProcess {
  const child = spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  const exit = once(child, 'close').then(
    ([code, signal]: unknown[]) => (code as number | null) ?? String(signal),
  );
  const until = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(output.stdout);
        if (found !== null) resolve(found);
      };
      child.stdout.on('data', look);
      void exit.then((code) => reject(new Error(`it ended with ${code}: ${output.stderr}${output.stdout}`)));
      look();
    });
  return { child, output, exit, until };
}

/** Runs it to its end. */
export async function runSettle(
  args: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<{ readonly code: number | string; readonly stdout: string; readonly stderr: string }> {
  const { exit, output } = startSettle(args, env);
  const code = await exit;
  return { code, ...output };
}
