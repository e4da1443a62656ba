/** A store belongs to one cluster, so that a copy of it, or a wrong address, is not driven from somewhere else. */
import { SettleError } from '../util/errors.ts';

export const clusterDefault = 'settle';

export function clusterMismatch(asked: string, owner: string): SettleError {
  const what = `the store belongs to the cluster ${owner}, and this coordinator is of the cluster ${asked}`;
  const next = 'Give it a store of its own; the transactions in this one are called from where they belong';
  return new SettleError('cluster_mismatch', what, { next });
}
