/**
 * Bugs planted on purpose, each where such a bug would really be, so that tests prove they would find it. Only tests
 * plant any; packing replaces every question for one by `false` (`scripts/lib/test-code.mjs`).
 *
 * `npm run sim -- --bugs` tells after how many seeds the simulator finds each.
 */
export const plantedBugs = {
  // engine: what must be durable before what
  'acknowledge-before-sync': 'D1: a submit is acknowledged before its record is durable',
  'effect-before-decision': 'D2: the calls that follow from a decision leave before it is durable',
  'tell-before-sync': 'D2: others are told of a decision that is not durable',
  'decision-not-awaited': 'D2: a commit or an action is answered before it is durable',
  'lazy-without-barrier': 'D3: no write although the participant does not repeat its answers',
  'ignore-lost-write': 'D4: a conditional write that failed is taken for one that succeeded',
  'unknown-write-stands': 'R4: a write of which the store did not say is taken for one that succeeded',
  'one-outcome-for-all': 'D4: all writes of a batch get the outcome of the first',
  'own-clock-decides': "D5: deadlines run on the coordinator's own clock",
  'batch-by-timer': 'D6: a timer fills the batches',
  // engine: recovery, leases, limits
  'recover-without-doubt': 'D3: recovery forgets that calls may have left unrecorded',
  'recover-from-the-start': 'recovery starts again at the first step',
  'call-after-the-lease': 'calls leave although the lease may have run out',
  'accept-another-body': 'another definition under the same gid is taken for a repeat',
  'retry-at-once': 'no pause before the next attempt',
  'calls-without-limit': 'any number of calls to one destination at once',
  // store
  'write-without-condition': 'D4: an update does not look at revision and owner',
  'insert-replaces': 'D4: a second insert under one gid replaces the first',
  'claim-without-epoch': 'D4: a claim leaves the former owner the right to write',
  // core
  'compensate-forward': 'S4: the step done first is undone first',
  'compensate-only-what-is-known': 'S3: a step that gave no answer is not undone',
  'believe-a-refusal-in-doubt': 'S3: a refusal after an attempt without an answer counts as nothing done',
  'give-up-a-compensation': 'S5: a compensation counts as done after some attempts',
  'abort-past-the-pivot': 'S2: aborts although the pivot may have happened',
  'late-answer-ends-the-undo': 'S3: the late answer of an action ends its undo',
  'step-before-its-turn': 'S1: a step does not wait for those it comes after',
  'confirm-what-is-not-tried': 'T1: a try without an answer counts as tried',
  'cancel-only-what-is-known': 'T3: a try that gave no answer is not cancelled',
  'deadline-over-commit': 'T4: the deadline cancels what is confirming',
  'end-one-branch-early': 'T4: the last confirm or cancel is not waited for',
  'deliver-before-submit': 'M1: a message is delivered as soon as it is prepared',
  'drop-on-silence': 'M3: a check-back without an answer drops the message',
  'refused-delivery-is-done': 'M4: a target that refuses counts as delivered',
  // wire
  'garbage-is-done': 'C1: any 2xx is done, whatever its body',
  'conflict-is-done': 'C2: 409 in phase 2 ends the branch',
  'gone-is-done': 'C3: 404 and its like in phase 2 end the branch',
  'silence-is-a-refusal': 'C3: no answer counts as a no',
  // participant
  'repeat-runs-again': 'P1: a repeated call takes effect again',
  'empty-undo-runs': 'P2: an undo of what never came runs all the same',
  'no-suspension-row': 'P3: an undo that found nothing leaves no row',
  'check-leaves-no-row': 'P7: a check-back that found nothing leaves no row',
  // outbox, relay, inbox
  'settle-without-token': 'fencing: a lane is settled by whoever held it before',
  'settle-before-confirm': 'R1: a message leaves the table before its publisher has confirmed it',
  'cursor-by-sequence': 'N2: what commits late, with a smaller number, is not looked for',
  'publish-past-a-failure': 'L1: a message overtakes one of its key that failed',
  'offset-before-work': 'a message is acknowledged before its work is committed',
} as const;

export type PlantedBug = keyof typeof plantedBugs;

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
