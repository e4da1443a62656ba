/** What a scope says when it refuses something, is ended, or is told of. When it does, scope.ts knows. */
import { SettleError } from '../util/errors.ts';
import { told, type ScopeState } from './scope-state.ts';

/** S1. `begun` is the place. */
export function scopeEnded(label: string, state: ScopeState, begun: string): SettleError {
  return new SettleError('scope_ended', `${label} ${told(state)}; it was begun ${begun}`, {
    ...(state.kind === 'ended' && state.reason.kind === 'failed' && { cause: state.reason.error }),
    next: 'Await everything inside the function of the scope, or start it with exit() to have it run outside',
  });
}

/** S3 */
export function endedBecauseOf(label: string, around: string, cause: unknown): SettleError {
  return new SettleError('scope_ended', `${label} was ended, because ${around} around it failed`, {
    cause,
    next: 'Await what runs inside a scope before leaving it: Promise.allSettled instead of Promise.all',
  });
}

/** S2, of a handle. `begun` is the place. */
export function leftOpen(label: string, around: string, begun: string): SettleError {
  return new SettleError(
    'scope_ended',
    `${label} was still open when ${around} around it ended; it was begun ${begun}`,
    { next: 'Call done() before the scope around it ends; `await using` rolls back what is not done' },
  );
}

export function nestedIsOpen(label: string): SettleError {
  return new SettleError('scope_busy', `${label}: a nested scope of it is open`, {
    next: 'Await the nested scope first: this driver answers at once, so its statements cannot wait',
  });
}

export function noQuery(driver: string): SettleError {
  return new SettleError('config_invalid', `${driver} has no way to run SQL beside its handle`, {
    next: 'Use an adapter whose connections have query()',
  });
}

export function flushesWithoutEnd(label: string): SettleError {
  return new SettleError('limit_exceeded', `${label}: hooks before the commit come to no end`, {
    next: 'Register no hook from what is flushed before the commit',
  });
}

/** `tree` is the description of the scope and those within it. */
export function openForLong(label: string, ms: number, tree: readonly string[]): SettleError {
  return new SettleError('transaction_timeout', `${label} is open for ${ms} ms:\n${tree.join('\n')}`, {
    next: 'End it, or do its slow part outside of the transaction',
  });
}

export function tookTooLong(label: string, timeoutMs: number): SettleError {
  return new SettleError('transaction_timeout', `${label} took longer than ${timeoutMs} ms`, {
    next: 'Do less in one transaction, or raise timeoutMs',
  });
}

export function cancelledBy(label: string, signal: AbortSignal): SettleError {
  return new SettleError('transaction_cancelled', `${label} was cancelled by its signal`, {
    cause: signal.reason,
    next: 'Nothing: it was rolled back',
  });
}

export function hookFailed(label: string, status: string, message: string, cause: unknown): SettleError {
  return new SettleError('hook_failed', `${label} (${status}): a hook failed: ${message}`, {
    cause,
    next: 'Catch what can fail inside the hook',
  });
}
