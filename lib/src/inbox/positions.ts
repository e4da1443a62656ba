/** How far consumers have come in logs that keep their messages, such as Kafka's, stored with the work itself. */
import type { Transaction } from '../local/transaction.ts';
import { SettleError } from '../util/errors.ts';
import { consumerName } from './message-key.ts';
import { sourceBytesMax } from './schema.ts';
import { isRow, type Ask, type Statement, type Words } from './words.ts';

export interface Position {
  readonly consumer: string;
  /** A topic. */
  readonly source: string;
  readonly partition: number;
  /** The first one that is not done yet. */
  readonly position: bigint;
}

export interface Positions<Client> {
  /** Written by the transaction, and so with the work itself. A position never goes back: one below that stored is passed over. */
  save(t: Transaction<Client>, position: Position): Promise<void>;
  /** By partition. Without those that nothing was saved of. */
  read(consumer: string, source: string): Promise<ReadonlyMap<number, bigint>>;
}

type InOwn = <T>(work: (ask: Ask) => Promise<T>) => Promise<T>;

export function positionsIn<Client>(
  w: Words,
  askIn: (t: Transaction<Client>) => Ask,
  inOwn: InOwn,
): Positions<Client> {
  return {
    save: async (t, position) => void (await askIn(t)(upsert(w, position))),
    async read(consumer, source) {
      const { rows } = await inOwn((ask) => ask(select(w, consumer, source)));
      return new Map(rows.map(positionOf));
    },
  };
}

function upsert(w: Words, { consumer, source, partition, position }: Position): Statement {
  if (!Number.isSafeInteger(partition) || partition < 0) throw invalid(`the partition ${partition} is none`);
  // Both are numbers, checked: as values some drivers make doubles of them.
  return {
    sql: `insert into settle_inbox_offsets (consumer, source, source_partition, position)
      values (${w.value(1)}, ${w.bytesValue(2)}, ${partition}, ${position})
      ${w.raising('settle_inbox_offsets', ['consumer', 'source', 'source_partition'], 'position')}`,
    values: [consumerName(consumer), w.bytes(checkedSource(source))],
  };
}

function select(w: Words, consumer: string, source: string): Statement {
  return {
    // As text, beyond what drivers make numbers of.
    sql: `select source_partition as part, cast(position as char(20)) as position from settle_inbox_offsets
      where consumer = ${w.value(1)} and source = ${w.bytesValue(2)}`,
    values: [consumerName(consumer), w.bytes(checkedSource(source))],
  };
}

function positionOf(row: unknown): [partition: number, position: bigint] {
  const { part, position } = isRow(row) ? row : {};
  return [Number(part), BigInt(String(position).trim())];
}

function checkedSource(source: string): string {
  if (source !== '' && Buffer.byteLength(source) <= sourceBytesMax && source.isWellFormed()) return source;
  throw invalid(
    `the source ${JSON.stringify(source.slice(0, 100))} is empty, or longer than ${sourceBytesMax} bytes`,
  );
}

function invalid(what: string): SettleError {
  return new SettleError('config_invalid', what);
}
