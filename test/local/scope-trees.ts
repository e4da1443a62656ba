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

export function scopeTreesLeaveWhatTheModelSays<Client>(subject: Subject<Client>, trees: number): void {
  const { database } = subject;
  const rules: ModelRules = {
    failedStatementFailsLevel: database.kind === 'postgres',
    oneConnection: database.kind === 'sqlite',
  };

  // InnoDB's default locks gaps between rows, more of them the later it cleans up behind earlier trees: siblings with
  // transactions of their own would sometimes wait for each other, through the one around them, until a lock times out.
  const isolated = database.kind === 'mariadb' ? { isolation: 'read-committed' as const } : {};

  describe(`trees of scopes with ${subject.name} on ${database.kind}`, () => {
    let opened: OpenDriver<Client> | undefined;
    beforeAll(async () => {
      opened = await subject.open(connectionsMax, database.url);
    });
    afterAll(() => opened?.close());

    test(`${trees} random trees leave the rows that the model says`, { timeout: 300_000 }, async () => {
      if (opened === undefined) throw new Error('opened before');
      // Many connections are made at once, on a machine that may be busy.
      const tx = createTransactions(opened.driver, { defaults: { acquireTimeoutMs: 60_000, ...isolated } });
      const run = new Interpreter(subject, tx);
      await fc.assert(
        fc.asyncProperty(scopeTrees, async (tree) => {
          await database.clear();
          await tx.run((t) => subject.insert(t.client, taken));
          const outcome = await run.scope(tree);
          const { outcome: expected, stored } = expectedOf(tree, rules);
          expect(await database.stored()).toEqual([...stored, taken].toSorted());
          expect(outcome).toBe(expected);
          // Nothing is left open, and no connection kept.
          expect(tx.describe()).toBe('');
        }),
        { numRuns: trees },
      );
    });
  });
}

class Interpreter<Client> {
  readonly #subject: Subject<Client>;
  readonly #tx: Transactions<Client>;

  constructor(subject: Subject<Client>, tx: Transactions<Client>) {
    this.#subject = subject;
    this.#tx = tx;
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

  async #step(step: Step, abort: AbortController): Promise<void> {
    switch (step.kind) {
      case 'insert':
        return void (await this.#subject.insert(this.#tx.db, step.value));
      case 'refused':
        try {
          await this.#subject.insert(this.#tx.db, taken);
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
