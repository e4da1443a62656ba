import { waitMaxMs, type Coordinator, type WaitOptions } from '../core/coordinator.ts';
import type { TransactionView } from '../core/patterns.ts';
import { hasEnded } from './outcome.ts';

/**
 * Waits for the end of a transaction longer than one request may: asks, and asks again with what is left of `waitMs`.
 * Rejects with the signal's reason when it aborts; the transaction goes on.
 */
export async function waitForEnd(
  coordinator: Pick<Coordinator, 'get'>,
  first: (options: WaitOptions) => Promise<TransactionView>,
  { waitMs = 0, signal }: WaitOptions,
): Promise<TransactionView> {
  const startedMs = performance.now();
  const options = (): WaitOptions => {
    const leftMs = Math.ceil(waitMs - (performance.now() - startedMs));
    const capped = { waitMs: Math.max(0, Math.min(leftMs, waitMaxMs)) };
    return signal === undefined ? capped : { ...capped, signal };
  };
  signal?.throwIfAborted();
  let view = await first(options());
  while (!hasEnded(view)) {
    signal?.throwIfAborted();
    const next = options();
    if (next.waitMs === 0) break;
    view = await coordinator.get(view.gid, next);
  }
  return view;
}
