/**
 * A participant's database: accounts and the barrier's table, and local transactions that commit or never were.
 *
 * - B1 One transaction at a time, start to end at one moment: the real barrier runs over it synchronously.
 * - B2 What a transaction changed is taken back in reverse order, to a savepoint or to its beginning.
 */
import type { BarrierCall, BarrierRow, BarrierTransaction } from '../../../lib/src/participant/barrier.ts';

export interface Account {
  readonly name: string;
  readonly opening: number;
  /** May it go below zero? */
  readonly overdraft: boolean;
  balance: number;
  held: number;
}

export class Database {
  readonly accounts = new Map<string, Account>();
  readonly rows = new Map<string, BarrierRow>();

  begin(): Transaction {
    return new Transaction(this);
  }
}

export interface Movement {
  readonly account: Account;
  readonly delta: number;
  readonly held: number;
}

export class Transaction implements BarrierTransaction {
  /** What it moved and has not taken back. */
  movements: Movement[] = [];
  readonly #database: Database;
  #undo: (() => void)[] = [];

  constructor(database: Database) {
    this.#database = database;
  }

  place(row: BarrierRow): BarrierRow | undefined {
    const { rows } = this.#database;
    const key = keyOf(row);
    const there = rows.get(key);
    if (there !== undefined) return there;
    rows.set(key, row);
    this.#undo.push(() => rows.delete(key));
    return undefined;
  }

  find(key: BarrierCall): BarrierRow | undefined {
    return this.#database.rows.get(keyOf(key));
  }

  answer(call: BarrierCall, answer: string): void {
    const { rows } = this.#database;
    const key = keyOf(call);
    const row = rows.get(key);
    if (row === undefined) return;
    rows.set(key, { ...row, answer });
    this.#undo.push(() => rows.set(key, row));
  }

  nested<T>(work: () => T): T {
    const mark = this.#undo.length;
    try {
      return work();
    } catch (error) {
      this.#takeBack(mark);
      throw error;
    }
  }

  move(account: Account, delta: number, held: number): void {
    account.balance += delta;
    account.held += held;
    this.movements.push({ account, delta, held });
    this.#undo.push(() => {
      account.balance -= delta;
      account.held -= held;
      this.movements.pop();
    });
  }

  abort(): void {
    this.#takeBack(0);
  }

  #takeBack(mark: number): void {
    for (const undo of this.#undo.splice(mark).toReversed()) undo();
  }
}

function keyOf({ gid, branch, op }: BarrierCall): string {
  return `${gid}/${branch}/${op}`;
}
