import { messageOf, SettleError } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import type { SqlResult } from '../util/sql.ts';
import type { Connection, Driver } from './driver.ts';
import { inTime } from './in-time.ts';
import { tokenOf, type ReadToken } from './read-token.ts';
import { positionQuestions, type PositionQuestions } from './replication.ts';
import type { Timers } from './timers.ts';

/** Milliseconds each of the questions may take. */
export const positionTimeoutMs = 5_000;

/** `doubt`: why the token is of no position, so that reads after it are for the primary alone. */
export interface CommittedAt {
  readonly token: ReadToken;
  readonly doubt: SettleError | undefined;
}

/** Finds out where the log of the primary stands once a transaction is committed. */
export class CommitPosition {
  readonly #label: string;
  readonly #questions: PositionQuestions | undefined;
  readonly #ask: (sql: string) => MaybePromise<unknown>;
  readonly #timers: Timers;
  #before: unknown;

  /** Throws `config_invalid` where there are positions, and the driver cannot ask for them. */
  constructor(label: string, driver: Driver<unknown>, connection: Connection, timers: Timers) {
    this.#label = label;
    this.#questions = positionQuestions(driver.dialect);
    this.#ask = this.#questions === undefined ? () => undefined : askingOf(driver, connection);
    this.#timers = timers;
  }

  /** To be called inside the transaction, right before its COMMIT. Throws what the server or the driver does. */
  async before(): Promise<void> {
    const sql = this.#questions?.before;
    if (sql !== undefined) this.#before = await this.#answer(sql);
  }

  /** To be called when the COMMIT is answered. Never throws: the transaction is committed. */
  async after(): Promise<CommittedAt> {
    // All there is to read is the primary.
    if (this.#questions === undefined) return { token: tokenOf({ kind: 'unknown' }), doubt: undefined };
    try {
      const answer = await this.#answer(this.#questions.after(this.#before));
      return { token: tokenOf(this.#questions.positionOf(answer)), doubt: undefined };
    } catch (cause) {
      const what = `${this.#label} is committed, but where the log stands could not be asked: ${messageOf(cause)}`;
      return {
        token: tokenOf({ kind: 'unknown' }),
        doubt: new SettleError('replica_skipped', what, {
          cause,
          next: 'Nothing: reads after its token are for the primary alone',
        }),
      };
    }
  }

  async #answer(sql: string): Promise<unknown> {
    const answer = this.#ask(sql);
    if (!isPromiseLike(answer)) return answer;
    const late = (): Error => new Error(`no answer within ${positionTimeoutMs} ms`);
    return await inTime(answer, positionTimeoutMs, this.#timers, late);
  }
}

/** Asks for one value. Throws `config_invalid` for a driver that has no way to. */
export function askingOf(
  { name }: Driver<unknown>,
  connection: Connection,
): (sql: string) => MaybePromise<unknown> {
  if (connection.query === undefined) {
    throw new SettleError('config_invalid', `${name} has no way to ask the database where its log stands`, {
      next: 'Use a driver whose connections have query(), or do without tokens',
    });
  }
  return (sql) => {
    const answer = connection.query?.(sql, []);
    return isPromiseLike(answer) ? answer.then(firstValue) : firstValue(answer);
  };
}

function firstValue(result: SqlResult | undefined): unknown {
  const [row] = result?.rows ?? [];
  return typeof row === 'object' && row !== null ? Object.values(row)[0] : undefined;
}
