import { decode, type Decoded } from '../core/codec.ts';
import { branches, effects, evolve, type TransactionView } from '../core/patterns.ts';
import { messageOf } from '../util/errors.ts';
import type { StoredTransaction } from './ports.ts';

/**
 * A stored transaction as this version understands it (D8). What the codec takes for readable may still be of a shape
 * that the protocol cannot work with; that is found out here, where it harms nobody, and not in the middle of the loop.
 */
export function readStored({ plan, progress }: Pick<StoredTransaction, 'plan' | 'progress'>): Decoded {
  const decoded = decode(plan, progress);
  if (decoded.kind === 'unreadable') return decoded;
  try {
    const { state } = decoded.progress;
    effects(decoded.plan, evolve(decoded.plan, state, { kind: 'recovered', at: 0 }));
    branches(decoded.plan, state);
    return decoded;
  } catch (error) {
    return { kind: 'unreadable', reason: `its state makes no sense to this version: ${messageOf(error)}` };
  }
}

/** As its owner would tell it. */
export function viewOf(stored: StoredTransaction): TransactionView {
  const { gid, pattern, name, status, stuck, createdAtMs, updatedAtMs } = stored;
  const summary = { gid, pattern, name, status, stuck, createdAtMs, updatedAtMs };
  const decoded = readStored(stored);
  if (decoded.kind === 'unreadable')
    return { ...summary, reason: `unreadable here: ${decoded.reason}`, branches: [] };
  const { state, history } = decoded.progress;
  const reason = 'reason' in state ? { reason: state.reason } : {};
  return { ...summary, ...reason, branches: branches(decoded.plan, state), history };
}
