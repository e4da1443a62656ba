import { saga } from 'settle';
import { type EmbeddedCoordinator, openCoordinator } from 'settle/engine';
import { sqliteStore } from 'settle/store/sqlite';
import { type Measured, summary } from '../harness/load.ts';

const placeOrder = saga('place-order')
  .step('reserve', { do: () => ({ reserved: 2 }), undo: () => null, idempotent: true })
  .step('charge', { do: () => ({ charged: 1998 }), undo: () => null, idempotent: true });

export async function openBench(path: string): Promise<EmbeddedCoordinator> {
  return openCoordinator({ store: sqliteStore(path), definitions: [placeOrder] });
}

export interface EmbeddedLoad {
  readonly inFlight: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
}

/** Keeps `inFlight` sagas under way for the whole time and measures each to its end. */
export async function measureEmbedded(
  coordinator: EmbeddedCoordinator,
  load: EmbeddedLoad,
): Promise<Measured> {
  const startedMs = performance.now();
  const countFromMs = startedMs + load.warmUpMs;
  const untilMs = startedMs + load.durationMs;
  const latencies: number[] = [];
  const loop = async (): Promise<void> => {
    for (;;) {
      const sentMs = performance.now();
      if (sentMs >= untilMs) return;
      await runOne(coordinator);
      const endedMs = performance.now();
      if (sentMs >= countFromMs && endedMs <= untilMs) latencies.push(endedMs - sentMs);
    }
  };
  await Promise.all(Array.from({ length: load.inFlight }, loop));
  return summary(latencies, load.durationMs - load.warmUpMs);
}

export async function runOne(coordinator: EmbeddedCoordinator): Promise<void> {
  const input = { order: 4711, sku: 'A-1001', quantity: 2 };
  const outcome = await coordinator.run(placeOrder, input, { waitMs: 30_000 });
  if (outcome.status !== 'committed') throw new Error(`a saga ended ${outcome.status}`);
}
