/**
 * How bad things are right now: the probabilities that faults set and the heal takes back. Who is asked to do something
 * looks here, with a stream of its own for each kind of trouble.
 */
export interface Weather {
  /** Of one message in one direction. */
  loss: number;
  duplicate: number;
  slow: number;
  slowMs: number;
  /** Of one request to the store. */
  storeLostReply: number;
  storeConflict: number;
  storeLate: number;
  storeStall: number;
  /** Of a coordinator, when it writes or calls. */
  crashAtWrite: number;
  crashAtCall: number;
  /** Of one call that reaches a participant. */
  participant: Record<Misbehaviour, number>;
  /** Of one client, in each of its steps. */
  clientDeath: number;
}

export const misbehaviours = [
  'crash',
  'hang',
  'error',
  'busy',
  'garbage',
  'status',
  'refuse-phase-2',
  'ongoing',
  'truncated',
  'forgetful',
] as const;
/** What a participant may do instead of answering as it should; see participant.ts. */
export type Misbehaviour = (typeof misbehaviours)[number];

export function calm(): Weather {
  return {
    loss: 0,
    duplicate: 0,
    slow: 0,
    slowMs: 0,
    storeLostReply: 0,
    storeConflict: 0,
    storeLate: 0,
    storeStall: 0,
    crashAtWrite: 0,
    crashAtCall: 0,
    participant: {
      crash: 0,
      hang: 0,
      error: 0,
      busy: 0,
      garbage: 0,
      status: 0,
      'refuse-phase-2': 0,
      ongoing: 0,
      truncated: 0,
      forgetful: 0,
    },
    clientDeath: 0,
  };
}
