import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CellAnswer, CellOrder } from './cell.ts';
import type { Verdict } from './verdict.ts';

const cell = fileURLToPath(new URL('cell.ts', import.meta.url));
/** No case lasts as long; a process that does has lost its event loop. */
const longestMs = 120_000;

/** Runs one case in a process of its own. Throws when it came to no verdict, as when the peer cannot be opened. */
export async function runCell(order: CellOrder): Promise<Verdict> {
  const child = fork(cell, [JSON.stringify(order)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const answered = once(child, 'message') as Promise<[CellAnswer]>;
  const exited = once(child, 'exit');
  try {
    const first = await Promise.race([answered, exited.then(() => undefined), sleep(longestMs, undefined)]);
    const answer = first?.[0] ?? { failure: `it ended without a verdict: ${said.slice(-2_000)}` };
    if ('verdict' in answer) return answer.verdict;
    throw new Error(`${order.peer}, case ${order.case}: ${answer.failure}`);
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
