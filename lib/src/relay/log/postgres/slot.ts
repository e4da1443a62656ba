/**
 * Where the server remembers up to where we have read. A slot holds back the server's log until that is acknowledged, and
 * what it would have told is lost when it is: neither costs a message, since every connection begins with a look at the table.
 */
import { SettleError } from '../../../util/errors.ts';
import { firstRow, type PgQueries, type PgReplicationClient, sqlStateOf } from './clients.ts';

/**
 * - `temporary`: of one connection, gone with it.
 * - `kept`: stays, and holds back the log while nobody reads it.
 */
export type Slot =
  | { readonly kind: 'temporary'; readonly name: string }
  | { readonly kind: 'kept'; readonly name: string };

/** A new one for each connection: the server may notice late that the last one is gone. */
export function temporarySlot(): Slot {
  const random = Array.from({ length: 16 }, () => Math.floor(Math.random() * 16).toString(16)).join('');
  return { kind: 'temporary', name: `settle_${random}` };
}

/** Makes the slot unless it is there and can be read. Waits for the end of all transactions that write now. */
export async function ensureSlot(
  slot: Slot,
  {
    client,
    pool,
    warn,
  }: {
    readonly client: PgReplicationClient;
    readonly pool: PgQueries;
    readonly warn: (error: Error) => void;
  },
): Promise<void> {
  if (slot.kind === 'temporary') return create(client, `"${slot.name}" TEMPORARY`);
  const found = await firstRow(
    pool,
    'select wal_status as status from pg_replication_slots where slot_name = $1',
    [slot.name],
  );
  if (found !== undefined && found['status'] !== 'lost') return;
  const how = found === undefined ? 'is not there' : 'has lost its part of the log';
  warn(new Error(`the slot ${slot.name} ${how}: it is made anew, and the whole table is looked at instead`));
  if (found !== undefined) await pool.query('select pg_drop_replication_slot($1)', [slot.name]);
  await create(client, `"${slot.name}"`);
}

/** The words of this protocol are in capitals: in small letters they are a syntax error. */
async function create(client: PgReplicationClient, what: string): Promise<void> {
  try {
    await client.query(`CREATE_REPLICATION_SLOT ${what} LOGICAL pgoutput NOEXPORT_SNAPSHOT`);
  } catch (cause) {
    // Another relay was quicker.
    if (sqlStateOf(cause) === '42710') return;
    if (sqlStateOf(cause) !== '42601') throw cause;
    throw new SettleError('config_invalid', 'the client that was handed in reads no log', {
      next: `Make it with { replication: 'database' }`,
      cause,
    });
  }
}

export interface Retained {
  readonly slot: string;
  readonly isActive: boolean;
  readonly bytes: bigint;
}

/** How much of the log is held back by our slot, and by those of our name that nobody reads. */
export async function retainedBy(pool: PgQueries, slot: string): Promise<readonly Retained[]> {
  const { rows } = await pool.query(
    `select slot_name as slot, active::text as active,
       pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint::text as bytes
     from pg_replication_slots
     where restart_lsn is not null and database = current_database() and (slot_name = $1 or slot_name like 'settle\\_%' and not active)`,
    [slot],
  );
  return rows.flatMap((row) =>
    isRetained(row) ? [{ slot: row.slot, isActive: row.active === 'true', bytes: BigInt(row.bytes) }] : [],
  );
}

function isRetained(
  row: unknown,
): row is { readonly slot: string; readonly active: string; readonly bytes: string } {
  return typeof row === 'object' && row !== null && 'slot' in row && 'active' in row && 'bytes' in row;
}
