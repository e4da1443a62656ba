import { afterEach, beforeEach, expect } from 'vitest';
import type { SettleError } from '../../lib/src/util/errors.ts';
import {
  createTransactions,
  type Transactions,
  type TransactionsOptions,
} from '../../lib/src/local/manager.ts';
import type { OpenDriver, Subject } from './subject.ts';

/** What a test needs to try one adapter: managers that are closed after it, and short words for what is done with them. */
export interface World<Client> {
  /** Transactions over a pool of that many connections. Default: 5. */
  transactions(connectionsMax?: number, options?: TransactionsOptions): Promise<Transactions<Client>>;
  /** Inserts through the ambient client. */
  add(tx: Transactions<Client>, value: string): Promise<void>;
  insert(client: Client, value: string): Promise<void>;
  /** Fails if what is committed is anything else. */
  expectStored(...values: string[]): Promise<void>;
  readonly warnings: SettleError[];
}

export function worldOf<Client>(subject: Subject<Client>): World<Client> {
  const open: OpenDriver<Client>[] = [];
  const warnings: SettleError[] = [];
  beforeEach(async () => {
    warnings.length = 0;
    await subject.database.clear();
  });
  afterEach(async () => {
    for (const { close } of open.splice(0)) await close();
  });
  const insert = async (client: Client, value: string): Promise<void> =>
    void (await subject.insert(client, value));
  return {
    async transactions(connectionsMax = 5, options = {}) {
      const opened = await subject.open(connectionsMax);
      open.push(opened);
      return createTransactions(opened.driver, {
        onWarning: (warning) => warnings.push(warning),
        ...options,
      });
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

/** Resolves at the end of this turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
