/** Who holds which lane: leases, by the clock of the database. */
import type { OwnStatements } from '../../local/own-statements.ts';
import { checkedVersion } from '../../local/schema.ts';
import { outboxSchema } from '../../outbox/schema/outbox-schema.ts';
import { SettleError } from '../../util/errors.ts';
import type { ClaimedLane, LaneToken, LaneView } from '../store.ts';
import { numberOf, rowsOf, textOf, wholeOf, type Row } from './rows.ts';
import { whole, wholeMs } from './whole.ts';
import type { Words } from './words.ts';

/** Throws `tables_missing` where there are none, and `store_newer` where they are of a newer version. */
export async function checkVersion(own: OwnStatements): Promise<void> {
  const { rows } = await own.query("select version from settle_schema where name = 'outbox'", []);
  if (checkedVersion(outboxSchema, own.database, rows[0]) > 0) return;
  throw new SettleError('tables_missing', 'the tables of the outbox are not there', {
    next: `Call ${outboxSchema.migrateWith} at the start, or run its statements in a migration of your own`,
  });
}

/** Says that the relay lives, and prolongs the lanes it holds. */
export async function prolongLanes(
  own: OwnStatements,
  { nowMs, parameter }: Words,
  { relay, ttlMs }: { readonly relay: string; readonly ttlMs: number },
): Promise<void> {
  const until = `${nowMs} + ${wholeMs('ttlMs', ttlMs)}`;
  const upsert =
    own.database === 'mysql'
      ? `on duplicate key update lease_until = ${until}`
      : 'on conflict (relay) do update set lease_until = excluded.lease_until';
  const insert = `insert into settle_outbox_relays (relay, lease_until) values (${parameter(1)}, ${until}) ${upsert}`;
  const update = `update settle_outbox_lanes set lease_until = ${until} where owner = ${parameter(1)}`;
  if (own.database === 'postgres') {
    await own.query(`with alive as (${insert}) ${update}`, [relay]);
    return;
  }
  await own.query(insert, [relay]);
  await own.query(update, [relay]);
}

/** How the lanes are shared now. */
export async function viewLanes(own: OwnStatements, words: Words, relay: string): Promise<LaneView> {
  const { nowMs, exactly, parameter } = words;
  const { rows } = await own.query(
    `select lane, ${exactly('token')} as token, ${exactly(nowMs)} as now,
       case when owner = ${parameter(1)} then 'held' when ${isFree(words)} then 'free' else 'taken' end as state,
       (select count(*) from settle_outbox_relays where lease_until > ${nowMs}) as relays
     from settle_outbox_lanes order by lane`,
    [relay],
  );
  const lanes = rowsOf(rows);
  const [first] = lanes;
  if (first === undefined) throw unfilled();
  const inState = (state: string): LaneToken[] =>
    lanes.filter((row) => textOf(row, 'state') === state).map(laneTokenOf);
  return {
    nowMs: numberOf(first, 'now'),
    relays: numberOf(first, 'relays'),
    held: inState('held'),
    free: inState('free'),
  };
}

/** Takes over what is free, each under its next token. */
export async function claimLanes(
  own: OwnStatements,
  words: Words,
  {
    relay,
    ttlMs,
    lanes,
  }: { readonly relay: string; readonly ttlMs: number; readonly lanes: readonly LaneToken[] },
): Promise<readonly ClaimedLane[]> {
  if (lanes.length === 0) return [];
  const { nowMs, exactly, parameter, locked } = words;
  return await own.transaction(async (run) => {
    const { rows } = await run(
      `select lane, ${exactly('token')} as token, case when owner is null then 0 else 1 end as abandoned
       from settle_outbox_lanes where (${lanes.map(isLane).join(' or ')}) and ${isFree(words)} order by lane ${locked}`,
      [],
    );
    const free = rowsOf(rows);
    if (free.length === 0) return [];
    await run(
      `update settle_outbox_lanes set owner = ${parameter(1)}, token = token + 1, lease_until = ${nowMs} + ${wholeMs('ttlMs', ttlMs)}
       where lane in (${free.map((row) => numberOf(row, 'lane')).join(',')})`,
      [relay],
    );
    return free.map((row) => ({
      lane: numberOf(row, 'lane'),
      token: wholeOf(row, 'token') + 1n,
      abandoned: numberOf(row, 'abandoned') === 1,
    }));
  });
}

/** Gives back those of the lanes that the relay holds under these tokens. */
export async function releaseLanes(
  own: OwnStatements,
  { parameter }: Words,
  { relay, lanes }: { readonly relay: string; readonly lanes: readonly LaneToken[] },
): Promise<void> {
  if (lanes.length === 0) return;
  await own.query(
    `update settle_outbox_lanes set owner = null, lease_until = null
     where owner = ${parameter(1)} and (${lanes.map(isLane).join(' or ')})`,
    [relay],
  );
}

/** Gives back all lanes of the relay, and forgets it. */
export async function forgetRelay(own: OwnStatements, { parameter }: Words, relay: string): Promise<void> {
  await own.query(
    `update settle_outbox_lanes set owner = null, lease_until = null where owner = ${parameter(1)}`,
    [relay],
  );
  await own.query(`delete from settle_outbox_relays where relay = ${parameter(1)}`, [relay]);
}

/** Forgets relays that have not been heard of for long, and never said goodbye. */
export async function forgetDeadRelays(own: OwnStatements, { nowMs }: Words): Promise<void> {
  await own.query(`delete from settle_outbox_relays where lease_until < ${nowMs} - ${deadRelayKeptMs}`, []);
}

/** For people who look at the table; a relay that comes back is simply written down again. */
const deadRelayKeptMs = 3_600_000;

function isFree({ nowMs }: Words): string {
  return `(owner is null or lease_until is null or lease_until <= ${nowMs})`;
}

function isLane({ lane, token }: LaneToken): string {
  return `(lane = ${whole('lane', lane)} and token = ${token})`;
}

function laneTokenOf(row: Row): LaneToken {
  return { lane: numberOf(row, 'lane'), token: wholeOf(row, 'token') };
}

function unfilled(): SettleError {
  return new SettleError('tables_missing', 'settle_outbox_lanes has no rows', {
    next: 'Run all statements of outboxMigration: the last ones fill tables',
  });
}
