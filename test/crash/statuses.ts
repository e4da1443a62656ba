/** What the coordinator says became of every transaction. */
import { setTimeout as sleep } from 'node:timers/promises';
import { statuses } from 'settle/core';

const settleWithinMs = 60_000;
const ended = ['committed', 'aborted', 'forgotten'];
const open = statuses.filter((status) => !ended.includes(status)).join();

/** The status of every transaction, once none is open any more. */
export async function allSettled(
  url: string,
  withinMs = settleWithinMs,
): Promise<ReadonlyMap<string, string>> {
  const untilMs = performance.now() + withinMs;
  for (;;) {
    const left = await list(url, `&status=${open}`);
    if (left.size === 0) return list(url, '');
    if (performance.now() > untilMs)
      throw new Error(`still open after ${withinMs} ms: ${JSON.stringify([...left].slice(0, 5))}`);
    await sleep(50);
  }
}

async function list(url: string, filter: string): Promise<ReadonlyMap<string, string>> {
  const statuses = new Map<string, string>();
  let cursor: string | undefined;
  do {
    const more = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${url}/v1/transactions?limit=200${filter}${more}`);
    if (!response.ok) throw new Error(`the list answers ${response.status}: ${await response.text()}`);
    const page = (await response.json()) as { items: { gid: string; status: string }[]; next?: string };
    for (const { gid, status } of page.items) statuses.set(gid, status);
    cursor = page.next;
  } while (cursor !== undefined);
  return statuses;
}

export function countBy(values: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
