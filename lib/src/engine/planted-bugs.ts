/**
 * Bugs planted on purpose, each where such a bug would really be, so that tests prove they would find it.
 * Only tests pass any; production passes none.
 */
export type PlantedBug =
  /** D1: acknowledge a submit before its record is durable. */
  | 'acknowledge-before-sync'
  /** D2: send the calls that follow from a decision before it is durable. */
  | 'effect-before-decision'
  /** D3: go on without a write although the participant does not repeat its answers. */
  | 'lazy-without-barrier'
  /** D4: take a conditional write that failed for one that succeeded. */
  | 'ignore-lost-write'
  /** D6: wait for a timer to fill a batch. */
  | 'batch-by-timer'
  /** Forget on recovery that calls may have left unrecorded. */
  | 'recover-without-doubt';

export type PlantedBugs = ReadonlySet<PlantedBug>;

export const noPlantedBugs: PlantedBugs = new Set();
