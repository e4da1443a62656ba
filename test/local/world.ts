import { afterEach, beforeEach, expect } from 'vitest';
import { isSettleError, messageOf, type SettleError } from '../../lib/src/util/errors.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions, TransactionsOptions } from '../../lib/src/local/transactions.ts';
import type { Driver } from '../../lib/src/local/driver.ts';
import type { OpenDriver, Subject } from './subject.ts';

/** What a test needs to try one adapter: managers that are closed after it, and short words for what is done with them. */
export interface World<Client> {
  /** Transactions over a pool of that many connections. Default: 5. */
  readonly transactions: (
    connectionsMax?: number,
    options?: WorldOptions<Client>,
  ) => Promise<Transactions<Client>>;
  /** Inserts through the ambient client. */
  readonly add: (tx: Transactions<Client>, value: string) => Promise<void>;
  readonly insert: (client: Client, value: string) => Promise<void>;
  /** Fails if what is committed is anything else. */
  readonly expectStored: (...values: string[]) => Promise<void>;
  readonly warnings: SettleError[];
}

export interface WorldOptions<Client> extends TransactionsOptions {
  /** Default: the database's own. */
  readonly url?: string;
  readonly wrapped?: (driver: Driver<Client>) => Driver<Client>;
}

export function worldOf<Client>(subject: Subject<Client>): World<Client> {
  const open: OpenDriver<Client>[] = [];
  const warnings: SettleError[] = [];
  beforeEach(async () => {
    warnings.length = 0;
    await subject.database.clear();
  });
  afterEach(async () => {
    for (const opened of open.splice(0)) await opened.close();
  });
  const insert = async (client: Client, value: string): Promise<void> =>
    void (await subject.insert(client, value));
  return {
    async transactions(connectionsMax = 5, { url = subject.database.url, wrapped, ...options } = {}) {
      const opened = await subject.open(connectionsMax, url);
      open.push(opened);
      const driver = wrapped?.(opened.driver) ?? opened.driver;
      return createTransactions(driver, { onWarning: (warning) => warnings.push(warning), ...options });
    },
    add: (tx, value) => insert(tx.db, value),
    insert,
    async expectStored(...values) {
      expect(await subject.database.stored()).toEqual(values.toSorted());
    },
    warnings,
  };
}

/** What was thrown; fails when nothing was. */
export async function thrownBy(promise: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('value' in outcome) expect.fail(`it came to ${String(outcome.value)} instead of throwing`);
  expect(outcome.error).toBeInstanceOf(Error);
  return outcome.error as Error & { readonly code?: string };
}

/** How a promise came out, in a form that can be compared: `returns …` or the code or message of the error. */
export function outcomeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    (value) => `returns ${String(value)}`,
    (error: unknown) => (isSettleError(error) ? error.code : messageOf(error)),
  );
}

/** Resolves at the end of this turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Resolves for all once that many have come. */
export function barrierOf(count: number): () => Promise<void> {
  const all = Promise.withResolvers<undefined>();
  let missing = count;
  return async () => {
    if (--missing === 0) all.resolve(undefined);
    await all.promise;
  };
}
