// Random trees of scopes, in which every row has a message: what is left of the messages are those of the scopes that survive,
// as the model of local transactions says it of rows, and those of one transaction are in the order of their sends.
import * as fc from 'fast-check';
import { expect } from 'vitest';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { createOutbox, defineMessages, message } from '../../lib/src/outbox/index.ts';
import { expectedOf, type ModelRules } from '../local/scope-model.ts';
import { scopeTrees, type ScopeNode, type Step } from '../local/scope-tree.ts';
import type { OpenDriver, Subject } from '../local/subject.ts';
import { turn } from '../local/world.ts';

/** Deep trees with parallel siblings of their own transactions need so many at most, and some more. */
export const connectionsMax = 40;
const taken = 'taken';

interface Note {
  readonly value: string;
  /** Of the transaction it was sent in. */
  readonly transaction: number;
}

const messages = defineMessages({ note: message<Note>({ destination: 'test:notes' }) });

export interface SentMessages {
  /** The payloads of the table, by their place in it. */
  read(): Promise<readonly string[]>;
  clear(): Promise<void>;
}

export async function messagesOfTreesAreThoseThatSurvive<Client>(
  subject: Subject<Client>,
  opened: OpenDriver<Client>,
  outbox: SentMessages,
  trees: number,
): Promise<void> {
  const { database } = subject;
  const rules: ModelRules = {
    failedStatementFailsLevel: database.kind === 'postgres',
    oneConnection: database.kind === 'sqlite',
  };
  const tx = createTransactions(opened.driver, { defaults: { acquireTimeoutMs: 60_000 } });
  await fc.assert(
    fc.asyncProperty(scopeTrees, async (tree) => {
      await database.clear();
      await outbox.clear();
      await tx.run((t) => subject.insert(t.client, taken));
      const run = new Interpreter(subject, tx);
      const outcome = await run.scope(tree);
      const expected = expectedOf(tree, rules);
      const notes = (await outbox.read()).map((payload) => JSON.parse(payload) as Note);
      expect(notes.map(({ value }) => value).toSorted()).toEqual(expected.stored);
      expect(byTransaction(notes)).toEqual(byTransaction(run.sent.filter(isAmong(notes))));
      expect(outcome).toBe(expected.outcome);
      expect(tx.describe()).toBe('');
    }),
    { numRuns: trees },
  );
}

function byTransaction(notes: readonly Note[]): Partial<Record<number, readonly Note[]>> {
  return Object.groupBy(notes, ({ transaction }) => transaction);
}

function isAmong(notes: readonly Note[]): (note: Note) => boolean {
  const values = new Set(notes.map(({ value }) => value));
  return ({ value }) => values.has(value);
}

class Interpreter<Client> {
  readonly sent: Note[] = [];
  readonly #subject: Subject<Client>;
  readonly #tx: Transactions<Client>;
  readonly #oneConnection: boolean;
  readonly #outbox;
  #transactions = 0;

  constructor(subject: Subject<Client>, tx: Transactions<Client>) {
    this.#subject = subject;
    this.#tx = tx;
    this.#oneConnection = subject.database.kind === 'sqlite';
    this.#outbox = createOutbox(tx, messages);
  }

  /** `around`: the number of the transaction it begins in; 0 outside of one. */
  scope({ propagation, steps }: ScopeNode, around = 0): Promise<'returns' | 'throws'> {
    const abort = new AbortController();
    const work = async (): Promise<void> => {
      const current = this.#tx.current();
      const own = current === undefined ? 0 : current.role === 'owner' ? ++this.#transactions : around;
      for (const step of steps) await this.#step(step, abort, own);
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

  async #step(step: Step, abort: AbortController, transaction: number): Promise<void> {
    switch (step.kind) {
      case 'insert': {
        const note = { value: step.value, transaction: transaction || ++this.#transactions };
        // What a server says of its savepoint it says to statements, and not to sends.
        if (!this.#oneConnection) await this.#subject.insert(this.#tx.db, step.value);
        this.sent.push(note);
        await this.#outbox.send('note', note, { outsideTransaction: 'begin' });
        return;
      }
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
        const outcomes = await Promise.all(step.scopes.map((scope) => this.scope(scope, transaction)));
        if (!step.isCaught && outcomes.includes('throws')) throw new Error('a scope within failed');
      }
    }
  }
}
