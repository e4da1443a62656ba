import type { Gid } from '../../../lib/src/core/ids.ts';
import type { History } from '../history.ts';

export type InvariantId =
  | 'I1'
  | 'I2'
  | 'I3'
  | 'I4'
  | 'I5'
  | 'I6'
  | 'I7'
  | 'I8'
  | 'I9'
  | 'I10'
  | 'I11'
  | 'I12'
  | 'I13'
  | 'I14'
  | 'I15'
  | 'I16'
  | 'I17'
  | 'I18';

export interface Violation {
  readonly invariant: InvariantId;
  /** What happened, in one line, with the figures. */
  readonly what: string;
  readonly gid?: Gid;
  /** The record it shows at first. */
  readonly seq?: number;
}

/** One invariant. It looks at a whole run, from outside the coordinators. */
export interface Checker {
  readonly id: InvariantId;
  /** As a fact: `no branch commits where another aborts`. */
  readonly title: string;
  check(history: History): readonly Violation[];
  /**
   * For what is cheap to check as it happens: called after every event of the world with the history so far (its `final`
   * is empty and its ends are not known yet). The first violation stops the run.
   */
  during?(history: History): readonly Violation[];
}
