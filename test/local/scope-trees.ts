// Random trees of scopes against the model: the rows that are left, and whether the outermost scope returns or throws.
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { expectedOf, type ModelRules } from './scope-model.ts';
import { scopeTrees, type ScopeNode, type Step } from './scope-tree.ts';
import type { OpenDriver, Subject } from './subject.ts';
import { turn } from './world.ts';

/** Deep trees with parallel siblings of their own transactions need so many at most, and some more. */
const connectionsMax = 40;
const taken = 'taken';
const tooLong = 'long'.repeat(26);

export function scopeTreesLeaveWhatTheModelSays<Client>(subject: Subject<Client>, trees: number): void {
  const { database } = subject;
  const rules: ModelRules = {
    failedStatementFailsLevel: database.kind === 'postgres',
    oneConnection: database.kind === 'sqlite',
  };

  describe(`trees of scopes with ${subject.name} on ${database.kind}`, () => {
    let opened: OpenDriver<Client> | undefined;
    beforeAll(async () => {
      opened = await subject.open(connectionsMax, database.url);
    });
    afterAll(() => opened?.close());

    test(`${trees} random trees leave the rows that the model says`, { timeout: 300_000 }, async () => {
      if (opened === undefined) throw new Error('opened before');
      // Many connections are made at once, on a machine that may be busy.
      const tx = createTransactions(opened.driver, { defaults: { acquireTimeoutMs: 60_000 } });
      let count = 0;
      await fc.assert(
        fc.asyncProperty(scopeTrees, async (tree) => {
          await database.clear();
          const run = new Interpreter(subject, tx, ++count);
          await tx.run((t) => subject.insert(t.client, run.named(taken)));
          const outcome = await run.scope(tree);
          const { outcome: expected, stored } = expectedOf(tree, rules);
          expect(await database.stored()).toEqual(
            [...stored, taken].map((value) => run.named(value)).toSorted(),
          );
          expect(outcome).toBe(expected);
          // Nothing is left open, and no connection kept.
          expect(tx.describe()).toBe('');
        }),
        { numRuns: trees },
      );
    });
  });
}

/**
 * Inserts what the database refuses, and never what was there before: in InnoDB a value that is taken, or was deleted and is
 * not cleaned up yet, gets a shared lock, which becomes one of the gap beside it when pages are cleaned up. Siblings would
 * sometimes wait for it, and the transaction around them for them, for 50 s.
 */
class Interpreter<Client> {
  readonly #subject: Subject<Client>;
  readonly #tx: Transactions<Client>;
  readonly #tree: number;

  constructor(subject: Subject<Client>, tx: Transactions<Client>, tree: number) {
    this.#subject = subject;
    this.#tx = tx;
    this.#tree = tree;
  }

  /** No two trees have a value in common. */
  named(value: string): string {
    return `${this.#tree}: ${value}`;
  }

  scope({ propagation, steps }: ScopeNode): Promise<'returns' | 'throws'> {
    const abort = new AbortController();
    const work = async (): Promise<void> => {
      for (const step of steps) await this.#step(step, abort);
    };
    const { signal } = abort;
    const options = { signal, timeoutMs: Infinity };
    const ran =
      propagation === 'supports' || propagation === 'notSupported' || propagation === 'never'
        ? this.#tx.run(work, { propagation, ...options })
        : this.#tx.run(work, { propagation, ...options });
    return ran.then(
      () => 'returns',
      () => 'throws',
    );
  }

  get #refused(): string {
    return this.#subject.database.kind === 'mariadb' ? tooLong : this.named(taken);
  }

  async #step(step: Step, abort: AbortController): Promise<void> {
    switch (step.kind) {
      case 'insert':
        return void (await this.#subject.insert(this.#tx.db, this.named(step.value)));
      case 'refused':
        try {
          await this.#subject.insert(this.#tx.db, this.#refused);
        } catch (error) {
          if (!step.isCaught) throw error;
        }
        return;
      case 'abort':
        abort.abort();
        throw new Error('aborted');
      case 'throw':
        throw new Error('thrown');
      case 'rollback-only':
        return this.#tx.current()?.setRollbackOnly();
      case 'pause':
        return await turn();
      case 'scopes': {
        const outcomes = await Promise.all(step.scopes.map((scope) => this.scope(scope)));
        if (!step.isCaught && outcomes.includes('throws')) throw new Error('a scope within failed');
      }
    }
  }
}
