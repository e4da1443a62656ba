/** What commands of Redis Streams answer, in the shapes that clients and versions of the protocol give it. */

export interface StreamEntry {
  readonly id: string;
  /** Undefined: it was trimmed or deleted while it was pending. */
  readonly fields: readonly (readonly [name: string, value: string])[] | undefined;
}

/** Of `XREADGROUP` for one stream: nothing, `[[stream, entries]]`, `[stream, entries]`, or a map from stream to entries. */
export function entriesRead(reply: unknown): readonly StreamEntry[] {
  if (reply === null || reply === undefined) return [];
  if (reply instanceof Map) return entriesOf([...reply.values()][0]);
  if (!Array.isArray(reply)) return entriesOf(Object.values(reply)[0]);
  const [first, second] = reply as readonly unknown[];
  return entriesOf(Array.isArray(first) ? (first as readonly unknown[])[1] : second);
}

/** Of `XAUTOCLAIM`: where to go on, what is ours now, and, from Redis 7 on, what was not there any more. */
export function entriesClaimed(reply: unknown): {
  readonly next: string;
  readonly entries: readonly StreamEntry[];
} {
  const [next, entries] = Array.isArray(reply) ? (reply as readonly unknown[]) : [];
  return { next: typeof next === 'string' ? next : '0-0', entries: entriesOf(entries) };
}

function entriesOf(entries: unknown): readonly StreamEntry[] {
  if (!Array.isArray(entries)) return [];
  return (entries as readonly unknown[]).flatMap((entry) => {
    const [id, fields] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
    // Redis 6.2 has null for an entry that is gone.
    return typeof id === 'string' ? [{ id, fields: pairsOf(fields) }] : [];
  });
}

function pairsOf(fields: unknown): StreamEntry['fields'] {
  if (!Array.isArray(fields)) return undefined;
  return Array.from({ length: fields.length / 2 }, (_, index) => [
    String(fields[2 * index]),
    String(fields[2 * index + 1]),
  ]);
}
