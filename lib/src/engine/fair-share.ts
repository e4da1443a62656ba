/**
 * How much of the work on one store is this coordinator's share, and when it lets the others have some.
 *
 * A new transaction stays with the coordinator that was asked; what waits for longer goes back to the store, and from
 * there to whoever claims first. That alone would leave one that joins late idle beside one that is full.
 *
 * - S1 A coordinator only ever gives: nothing is taken from one that lives.
 * - S2 Nobody gives who drives little more than the share, so that work does not wander about.
 * - S3 Who has given claims nothing until the others had their turn, unless one of them is gone meanwhile: a takeover
 *      never waits for this.
 */
import type { Company } from './ports.ts';

/** S2: more than the share by a tenth and this many is too much. */
const tolerance = 8;

export class FairShare {
  #others: Company = { coordinators: 0, driving: 0 };
  #yieldsUntilMs = 0;

  /** What the store says of the others. `fewer`: there may be something to take over. */
  heard(others: Company): 'fewer' | 'same' {
    const isFewer = others.coordinators < this.#others.coordinators;
    this.#others = others;
    if (isFewer) this.#yieldsUntilMs = 0;
    return isFewer ? 'fewer' : 'same';
  }

  /** How many to give, of so many that are driven here. */
  excess(driving: number): number {
    const { coordinators, driving: byOthers } = this.#others;
    const share = Math.ceil((driving + byOthers) / (coordinators + 1));
    return driving > share * 1.1 + tolerance ? driving - share : 0;
  }

  /** S3 */
  gave(yieldsUntilMs: number): void {
    this.#yieldsUntilMs = yieldsUntilMs;
  }

  yields(nowMs: number): boolean {
    return nowMs < this.#yieldsUntilMs;
  }
}
