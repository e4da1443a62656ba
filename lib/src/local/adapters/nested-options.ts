import { SettleError } from '../../util/errors.ts';

/** What an ORM's own transaction call throws that asks for an isolation or access mode: a savepoint has none of its own. */
export function nestedOptionConflict(what: string): SettleError {
  return new SettleError('option_conflict', `${what} asks for options of its own within a transaction`, {
    next: 'Say it where the transaction begins, run(work, { isolation }), or use propagation requiresNew',
  });
}
