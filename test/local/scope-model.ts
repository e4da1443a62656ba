// What must come of a tree of scopes, said in a hundred lines without a connection, a promise or a savepoint: Spring's rules
// over lists of rows.
import { participation } from '../../lib/src/local/propagation.ts';
import type { ScopeNode, Step } from './scope-tree.ts';

export interface ModelRules {
  /** PostgreSQL refuses everything after a statement that failed, until its savepoint is rolled back. */
  readonly failedStatementFailsLevel: boolean;
  /** One connection: no transaction, and no statement of its own, while another transaction is open. */
  readonly oneConnection: boolean;
}

/** What can be undone alone: a transaction, or a savepoint in one. */
interface Level {
  readonly rows: string[];
  /** Somebody in it failed, and cannot be undone alone. */
  isFailed: boolean;
  isRollbackAsked: boolean;
  /** The server refuses statements. */
  isRefusing: boolean;
}

type Outcome = 'returns' | 'throws';

export interface Expected {
  readonly outcome: Outcome;
  readonly stored: readonly string[];
}

export function expectedOf(tree: ScopeNode, rules: ModelRules): Expected {
  const model = new Model(rules);
  const outcome = model.scope(tree, undefined);
  return { outcome, stored: model.stored.toSorted() };
}

class Model {
  readonly stored: string[] = [];
  readonly #rules: ModelRules;
  /** How many transactions are open, suspended or not. */
  #open = 0;

  constructor(rules: ModelRules) {
    this.#rules = rules;
  }

  scope({ propagation, steps }: ScopeNode, level: Level | undefined): Outcome {
    const isBlocked = this.#rules.oneConnection && this.#open > 0;
    switch (participation(propagation, level !== undefined)) {
      case 'missing':
      case 'forbidden':
        return 'throws';
      case 'outside':
        return this.#steps(steps, undefined, 'outside');
      case 'begin': {
        if (isBlocked) return 'throws';
        this.#open++;
        const own = newLevel();
        const outcome = this.#endOf(own, this.#steps(steps, own, 'owner'), this.stored);
        this.#open--;
        return outcome;
      }
      case 'savepoint': {
        if (level === undefined || level.isFailed || level.isRollbackAsked || level.isRefusing)
          return 'throws';
        const own = newLevel();
        return this.#endOf(own, this.#steps(steps, own, 'owner'), level.rows);
      }
      case 'join': {
        const outcome = this.#steps(steps, level, 'joined');
        if (outcome === 'throws' && level !== undefined) level.isFailed = true;
        return outcome;
      }
    }
  }

  #endOf(level: Level, outcome: Outcome, into: string[]): Outcome {
    if (outcome === 'throws' || level.isFailed || level.isRefusing) return 'throws';
    if (!level.isRollbackAsked) into.push(...level.rows);
    return 'returns';
  }

  #steps(steps: readonly Step[], level: Level | undefined, role: 'owner' | 'joined' | 'outside'): Outcome {
    for (const step of steps) if (this.#step(step, level, role) === 'throws') return 'throws';
    return 'returns';
  }

  #step(step: Step, level: Level | undefined, role: 'owner' | 'joined' | 'outside'): Outcome {
    switch (step.kind) {
      case 'pause':
        return 'returns';
      case 'throw':
      case 'abort':
        return 'throws';
      case 'insert':
        if (level?.isRefusing === true || (level === undefined && this.#isBusy)) return 'throws';
        (level?.rows ?? this.stored).push(step.value);
        return 'returns';
      case 'refused':
        if (level !== undefined && this.#rules.failedStatementFailsLevel) level.isRefusing = true;
        return step.isCaught ? 'returns' : 'throws';
      case 'rollback-only':
        if (level !== undefined && role === 'joined') level.isFailed = true;
        else if (level !== undefined) level.isRollbackAsked = true;
        return 'returns';
      case 'scopes': {
        // All of them are waited for, so that their order does not matter.
        const outcomes = step.scopes.map((scope) => this.scope(scope, level));
        return step.isCaught || !outcomes.includes('throws') ? 'returns' : 'throws';
      }
    }
  }

  get #isBusy(): boolean {
    return this.#rules.oneConnection && this.#open > 0;
  }
}

function newLevel(): Level {
  return { rows: [], isFailed: false, isRollbackAsked: false, isRefusing: false };
}
