/** Positions in a log that are stored with the work itself, in place of the broker's own record of them. */
import type { IncomingMessage } from './incoming.ts';

/** Where consumers begin: `inbox.positions` is one. */
export interface StoredPositions {
  /** By partition, the first offset that is not done. Without those that nothing was stored of. */
  read(consumer: string, source: string): Promise<ReadonlyMap<number, bigint>>;
}

/** What the transaction of a message's work stores, so that its consumer begins behind it. */
export interface LogPosition {
  /** A topic. */
  readonly source: string;
  readonly partition: number;
  /** The offset after the message's own. */
  readonly position: bigint;
}

/** The position behind a message of a log; undefined for a message of a broker that keeps none. */
export function positionAfter({
  source,
  ref,
}: Pick<IncomingMessage, 'source' | 'ref'>): LogPosition | undefined {
  const found = ref.startsWith(`${source}/`) ? /^(\d+)@(\d+)$/.exec(ref.slice(source.length + 1)) : null;
  if (found === null) return undefined;
  const [, partition = '', offset = ''] = found;
  return { source, partition: Number(partition), position: BigInt(offset) + 1n };
}

/** The `ref` of a message of a log: `orders/3@1207`. */
export function logRef(source: string, partition: number, offset: bigint): string {
  return `${source}/${partition}@${offset}`;
}
