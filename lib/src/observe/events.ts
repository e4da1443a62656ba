import type { Gid } from '../core/ids.ts';
import type { Op, Outcome } from '../core/outcome.ts';
import type { Pattern, Status } from '../core/patterns.ts';

/** What the engine tells whoever listens. Losing one changes nothing: facts live in the store. */
export type EngineEvent =
  /** A transaction's status or stuckness changed, durably. */
  | {
      readonly kind: 'transaction';
      readonly gid: Gid;
      readonly pattern: Pattern;
      readonly name: string;
      readonly status: Status;
      readonly stuck: boolean;
      readonly atMs: number;
    }
  | {
      readonly kind: 'call';
      readonly gid: Gid;
      readonly branch: string;
      readonly op: Op;
      readonly attempt: number;
      readonly outcome: Outcome['kind'];
      readonly detail: string | undefined;
      readonly durationMs: number;
    }
  /** One group commit reached the disk. */
  | { readonly kind: 'commit'; readonly writes: number; readonly durationMs: number }
  | { readonly kind: 'circuit'; readonly destination: string; readonly state: 'open' | 'closed' }
  /** Something a person should look at; nothing was lost. */
  | { readonly kind: 'alarm'; readonly code: AlarmCode; readonly message: string; readonly gid?: Gid };

export type AlarmCode =
  | 'stuck'
  | 'unreadable'
  | 'lease_lost'
  | 'store_unavailable'
  | 'phase_2_refused'
  | 'internal';

export type Observer = (event: EngineEvent) => void;
