/**
 * What a token of `onToken` looks like: where the log of the primary stood when a transaction had committed.
 *
 * It goes out to clients and comes back from them, so it consists of letters, digits and `-.:` alone, as cookies, headers
 * and URLs allow, and nothing of it that was not recognised here reaches a statement.
 */
import type { Brand } from '../util/brand.ts';
import { SettleError } from '../util/errors.ts';

/** Stands for everything a transaction wrote and saw: `onToken` gives it, `{ after: token }` takes it. */
export type ReadToken = Brand<string, 'ReadToken'>;

/**
 * - `unknown`: nobody could say, so that only the primary is sure to have it.
 * - `postgres`: `lsn` as PostgreSQL writes it, `timeline` in eight hexadecimal digits.
 * - `mariadb`, `mysql`: GTIDs as the server writes them.
 */
export type Position =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'postgres'; readonly timeline: string; readonly lsn: string }
  | { readonly kind: 'mariadb'; readonly gtids: readonly string[] }
  | { readonly kind: 'mysql'; readonly gtids: readonly string[] };

/** Characters; a cookie holds four times as many. A position that takes more (hundreds of GTIDs) becomes `unknown`. */
export const readTokenLengthMax = 1_000;

const unknownToken = 'primary';
const postgresToken = /^postgres-([0-9A-F]{8})-([0-9A-F]{8})([0-9A-F]{8})$/;
const gtidToken = /^(mariadb|mysql)-(.+)$/;
/** Domain, server, number: https://mariadb.com/docs/server/ha-and-performance/standard-replication/gtid */
const mariadbGtid = /^\d{1,10}-\d{1,10}-\d{1,20}$/;
/** Server, tag (since 8.3), intervals: https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html */
const mysqlGtid =
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?::(?:[a-z_][a-z0-9_]{0,31}|\d{1,20}(?:-\d{1,20})?))+$/;

/**
 * A token that came from outside, such as one of a cookie.
 *
 * Throws `invalid_request` for anything that `onToken` cannot have given.
 */
export function parseToken(text: string): ReadToken {
  positionOf(text);
  return text as ReadToken;
}

/** Throws for what no server says of its position. */
export function tokenOf(position: Position): ReadToken {
  const token = printed(position);
  return parseToken(token.length > readTokenLengthMax ? unknownToken : token);
}

/** Throws `invalid_request`. */
export function positionOf(token: unknown): Position {
  if (typeof token !== 'string' || token.length > readTokenLengthMax) throw invalid(token);
  if (token === unknownToken) return { kind: 'unknown' };
  const [, timeline, high, low] = postgresToken.exec(token) ?? [];
  if (timeline !== undefined) return { kind: 'postgres', timeline, lsn: `${short(high)}/${short(low)}` };
  const [, kind, list = ''] = gtidToken.exec(token) ?? [];
  const gtids = list.split('.');
  if (kind === 'mariadb' && gtids.every((gtid) => mariadbGtid.test(gtid))) return { kind, gtids };
  if (kind === 'mysql' && gtids.every((gtid) => mysqlGtid.test(gtid))) return { kind, gtids };
  throw invalid(token);
}

function printed(position: Position): string {
  switch (position.kind) {
    case 'unknown':
      return unknownToken;
    case 'postgres': {
      const digits = position.lsn.split('/').map((part) => part.padStart(8, '0'));
      return `postgres-${position.timeline}-${digits.join('')}`;
    }
    case 'mariadb':
    case 'mysql':
      return `${position.kind}-${position.gtids.join('.')}`;
  }
}

function short(digits: string | undefined): string {
  return (digits ?? '').replace(/^0+(?=.)/, '');
}

function invalid(token: unknown): SettleError {
  const shown = typeof token === 'string' ? JSON.stringify(token.slice(0, 40)) : typeof token;
  return new SettleError('invalid_request', `${shown} is no token of a transaction`, {
    next: 'Forget it, and read strong until the next transaction gives one',
  });
}
