/** What `settle outbox` prints, for people and as JSON. */
import { laneCount, type DeadLetter, type OutboxStats } from 'settle/relay';

const reasonLengthMax = 80;

export interface DeadPage {
  readonly items: readonly DeadLetter[];
  readonly next: string | undefined;
}

export function describeDeadPage({ items, next }: DeadPage): string {
  if (items.length === 0) return 'no dead letters';
  const header = ['id', 'type', 'key', 'destination', 'died', 'cause', 'attempts', 'reason'];
  const rows = items.map((letter) => [
    letter.id,
    letter.type,
    letter.key ?? '-',
    destinationOf(letter),
    timeOf(letter.diedAtMs),
    letter.cause,
    String(letter.attempts),
    letter.reason.slice(0, reasonLengthMax),
  ]);
  const lines = columns([header, ...rows.map((row) => row.map(printable))]);
  return [...lines, ...(next === undefined ? [] : ['', `there are more: --cursor ${next}`])].join('\n');
}

/** `payload` is the JSON that was sent, as text: numbers in it stay what they are. */
export function deadPageAsJson({ items, next }: DeadPage): object {
  const shown = items.map((letter) => ({
    id: letter.id,
    type: letter.type,
    version: letter.version,
    destination: destinationOf(letter),
    key: letter.key ?? null,
    payload: letter.payload,
    headers: letter.headers,
    created: timeOf(letter.createdAtMs),
    died: timeOf(letter.diedAtMs),
    cause: letter.cause,
    reason: letter.reason,
    attempts: letter.attempts,
    blocksKey: letter.blocksKey,
  }));
  return { items: shown, next: next ?? null };
}

export function describeStats(stats: OutboxStats): string {
  const lines: readonly (readonly [string, string])[] = [
    [
      'pending',
      `${stats.pending}${stats.oldestMs === undefined ? '' : `, the oldest for ${age(stats.oldestMs)}`}`,
    ],
    ['delayed', String(stats.delayed)],
    ['dead', String(stats.dead)],
    ['relays', String(stats.relays)],
    ['lanes', `${stats.lanesHeld} of ${laneCount} held`],
  ];
  return columns(lines).join('\n');
}

export function statsAsJson({ nowMs, oldestMs, ...counts }: OutboxStats): object {
  return { now: timeOf(nowMs), oldestMs: oldestMs ?? null, ...counts, lanes: laneCount };
}

function destinationOf({ target, address }: DeadLetter): string {
  return `${target}:${address}`;
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

/** What senders and brokers wrote must not steer the terminal. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ');
}

function age(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
