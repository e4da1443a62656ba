/**
 * Bugs planted on purpose, each where such a bug would really be, so that tests prove they would find it. Only tests
 * plant any; the build of the published package replaces every question for one by `false`.
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

const active = new Set<PlantedBug>();

/** Whether this bug is to happen. */
export function planted(bug: PlantedBug): boolean {
  return active.size > 0 && active.has(bug);
}

/** Tests only: these bugs, and no others, from now on. */
export function plant(...bugs: readonly PlantedBug[]): void {
  active.clear();
  for (const bug of bugs) active.add(bug);
}
