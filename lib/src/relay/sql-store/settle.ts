/**
 * Writes down what became of messages.
 *
 * - F1 Nothing is written of a lane whose token does not stand. Deletes of published messages check that without a lock: a
 *   relay that lost its lane in the same moment deletes what it has published, which whoever has the lane now would only
 *   publish again. Everything else holds the lane until it is committed.
 * - F2 A message is in one table: it is copied to another and deleted in one transaction, by who locked its lane.
 */
import type { OwnStatements, RunSql } from '../../local/own-statements.ts';
import type { Settlement } from '../store.ts';
import { numberOf, rowsOf, wholeOf } from './rows.ts';
import { whole } from './whole.ts';
import { contents, place, type Words } from './words.ts';

/** Gives back the lanes whose token does not stand. */
export async function settleLanes(
  own: OwnStatements,
  words: Words,
  settlements: readonly Settlement[],
): Promise<readonly number[]> {
  if (settlements.length === 0) return [];
  const isPublishedOnly = settlements.every(
    ({ started, failed, dead }) => started.length + failed.length + dead.length === 0,
  );
  return isPublishedOnly
    ? await deletePublished(own, words, settlements)
    : await own.transaction((run) => settleLocked(run, words, settlements));
}

async function deletePublished(
  own: OwnStatements,
  words: Words,
  settlements: readonly Settlement[],
): Promise<readonly number[]> {
  const { sql, values, answer } = words.deleteDone(settlements);
  const { rows, affected } = await own.query(sql, values);
  if (answer === 'tells') return rowsOf(rows).map((row) => numberOf(row, 'lane'));
  const isAllDeleted = affected === settlements.reduce((sum, { done }) => sum + done.length, 0);
  if (isAllDeleted && settlements.every(({ done }) => done.length > 0)) return [];
  const standing = await standingLanes((...statement) => own.query(...statement), words, {
    settlements,
    lock: '',
  });
  return lanesOf(settlements.filter((one) => !standing.has(one)));
}

async function settleLocked(
  run: RunSql,
  words: Words,
  settlements: readonly Settlement[],
): Promise<readonly number[]> {
  const standing = await standingLanes(run, words, { settlements, lock: words.locked });
  const kept = settlements.filter((one) => standing.has(one));
  await deleteDone(run, words, kept);
  await countStarts(run, words, kept);
  await keepInPlace(run, words, kept);
  await moveToDelayed(run, words, kept);
  await moveToDead(run, words, kept);
  return lanesOf(settlements.filter((one) => !standing.has(one)));
}

async function standingLanes(
  run: RunSql,
  { exactly }: Words,
  { settlements, lock }: { readonly settlements: readonly Settlement[]; readonly lock: string },
): Promise<ReadonlySet<Settlement>> {
  const lanes = lanesOf(settlements).map((lane) => whole('lane', lane));
  const { rows } = await run(
    `select lane, ${exactly('token')} as token from settle_outbox_lanes where lane in (${lanes.join(',')}) order by lane ${lock}`,
    [],
  );
  const tokens = new Map(rowsOf(rows).map((row) => [numberOf(row, 'lane'), wholeOf(row, 'token')]));
  return new Set(settlements.filter(({ lane, token }) => tokens.get(lane) === token));
}

async function deleteDone(run: RunSql, words: Words, settlements: readonly Settlement[]): Promise<void> {
  const done = settlements.flatMap(({ lane, done }) => done.map((seq) => ({ lane, seq: String(seq) })));
  if (done.length > 0) await run(words.deleteGiven('settle_outbox'), [JSON.stringify(done)]);
}

const startedColumns = { ...place, begun: 'whole' } as const;

async function countStarts(run: RunSql, words: Words, settlements: readonly Settlement[]): Promise<void> {
  const started = settlements.flatMap(({ lane, started }) =>
    started.map(({ seq, starts }) => ({ lane, seq: String(seq), begun: starts })),
  );
  if (started.length === 0) return;
  await run(words.updateGiven('starts = begun', startedColumns), [JSON.stringify(started)]);
}

const failedColumns = { ...place, tried: 'whole', why: 'text', pause: 'whole' } as const;

function failedOf(settlements: readonly Settlement[], where: 'stay' | 'later') {
  return settlements.flatMap(({ lane, failed }) =>
    failed
      .filter((message) => message.place === where)
      .map(({ seq, attempts, reason, retryInMs }) => ({
        lane,
        seq: String(seq),
        tried: attempts,
        why: kept(reason),
        pause: Math.max(0, Math.ceil(retryInMs)),
      })),
  );
}

/** It was heard of: `starts` counts again from 0. */
async function keepInPlace(run: RunSql, words: Words, settlements: readonly Settlement[]): Promise<void> {
  const failed = failedOf(settlements, 'stay');
  if (failed.length === 0) return;
  const set = `attempts = tried, starts = 0, due_at = ${words.nowMs} + pause, last_error = why`;
  await run(words.updateGiven(set, failedColumns), [JSON.stringify(failed)]);
}

async function moveToDelayed(run: RunSql, words: Words, settlements: readonly Settlement[]): Promise<void> {
  const failed = failedOf(settlements, 'later');
  if (failed.length === 0) return;
  await run(
    `insert into settle_outbox_delayed (lane, ${contents}, attempts, due_at, last_error)
     select o.lane, ${contents}, tried, ${words.nowMs} + pause, why from ${words.givenIn('settle_outbox', failedColumns)}`,
    [JSON.stringify(failed)],
  );
  await run(words.deleteGiven('settle_outbox'), [JSON.stringify(failed)]);
}

const deadColumns = { ...place, tried: 'whole', fate: 'text', why: 'text', stops: 'whole' } as const;

/** F2 */
async function moveToDead(run: RunSql, words: Words, settlements: readonly Settlement[]): Promise<void> {
  const dead = settlements.flatMap(({ lane, dead }) =>
    dead.map(({ seq, attempts, cause, reason, blocksKey }) => ({
      lane,
      seq: String(seq),
      tried: attempts,
      fate: cause,
      why: kept(reason),
      stops: blocksKey ? 1 : 0,
    })),
  );
  if (dead.length === 0) return;
  await run(
    `insert into settle_outbox_dead (lane, seq, ${contents}, attempts, starts, last_error, cause, reason, died_at, blocks_key)
     select o.lane, o.seq, ${contents}, tried, starts, why, fate, why, ${words.nowMs}, stops
     from ${words.givenIn('settle_outbox', deadColumns)}`,
    [JSON.stringify(dead)],
  );
  await run(words.deleteGiven('settle_outbox'), [JSON.stringify(dead)]);
}

/** Characters of a reason that are kept. */
export const reasonLengthMax = 2_000;

/** Without what no database keeps in a text: zeros, and halves of characters. */
function kept(reason: string): string {
  return reason
    .slice(0, reasonLengthMax)
    .replaceAll('\0', '')
    .replaceAll(/[\ud800-\udfff]/gu, '\ufffd');
}

function lanesOf(settlements: readonly Settlement[]): readonly number[] {
  return [...new Set(settlements.map(({ lane }) => lane))].toSorted((a, b) => a - b);
}
