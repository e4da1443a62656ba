/** What the demo tells a service process, and what the process tells back. */
import type { Fault } from '../faults.ts';
import type { Place } from '../databases/kinds.ts';
import type { ServiceName } from '../service-names.ts';
import type { DemoPattern } from '../order-stream.ts';

export interface ServiceSettings {
  readonly service: ServiceName;
  readonly database: Place;
  /** 0 at the first start; then the one it had, so that its URL stays. */
  readonly port: number;
  readonly seed: number;
  readonly faults: boolean;
  /** The coordinator that the orders service, as a producer, sends its messages to. */
  readonly coordinatorUrl: string;
  /** Milliseconds after which the coordinator gives up a call. */
  readonly callTimeoutMs: number;
  readonly defect: Defect | undefined;
}

/**
 * A mistake planted on purpose, to see the check find it.
 * - `skip-barrier`: every request runs, repeats and late ones too.
 * - `drop-undo`: a compensation or cancel answers done and does nothing.
 */
export type Defect = 'skip-barrier' | 'drop-undo';

export const defects: readonly Defect[] = ['skip-barrier', 'drop-undo'];

/** From a service to the demo. Counts are what happened since the last ones. */
export type ServiceMessage =
  | { readonly kind: 'ready'; readonly port: number }
  | {
      readonly kind: 'counts';
      readonly faults: Partial<Record<Fault, number>>;
      /** Calls that were not the first attempt. */
      readonly retries: Partial<Record<DemoPattern, number>>;
    };

/** The variable that carries the settings, as JSON. */
export const settingsVariable = 'SETTLE_DEMO_SERVICE';
