import type { Measured } from '../../harness/load.ts';

/** Another system that does the same saga, made ready to be measured: installed, and what it needs is there. */
export interface Peer {
  readonly name: string;
  /** Versions and the settings that matter. */
  readonly about: string;
  /** Starts it afresh, measures, and stops everything it started. */
  measure(load: PeerLoad): Promise<Measured>;
}

export interface PeerLoad {
  /** Where participants.ts listens. */
  readonly participants: string;
  readonly inFlight: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
}

/** The two steps, with the payload that Settle's saga carries too. */
export const steps = ['reserve', 'charge'] as const;
export const order = { order: 4711, sku: 'A-1001', quantity: 2 };
