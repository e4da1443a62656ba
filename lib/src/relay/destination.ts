/**
 * One address of one publisher, with all that waits for it.
 *
 * - O1 A destination that takes nothing is left alone, longer each time; then it is tried with one message. Its messages do
 *      not count that as attempts, and hold up no other destination: at most half of all calls try one. None of them stays
 *      in memory meanwhile.
 * - O2 A message in doubt, that failed with a whole batch or has outlived a relay, goes alone: what it does harms no other.
 * - O3 A message of which nothing is known is at fault only if the destination has taken another one since.
 */
import { isSuspect, Line, Passed, type Row } from './line.ts';
import type { Outlet } from './outlet.ts';

/** Messages that are remembered to have failed with a batch, and those kept to try a destination with. */
const doubtsMax = 1_000;
const probesMax = 32;
/** Looks at it, a second apart, after which an empty destination is forgotten whatever is known of it. */
const emptyLooksMax = 60;

export class Destination {
  readonly outlet: Outlet;
  readonly address: string;
  readonly lines = new Map<string, Line>();
  readonly loose: Line;
  readonly passed = new Passed();
  state: DestinationState = { kind: 'open' };
  /** Messages of it in memory, and how many of them are under way. */
  kept = 0;
  flying = 0;
  /** How often it took nothing, since it last took a message. */
  failures = 0;
  #taken = 0;
  #emptyLooks = 0;
  /** By id: how many it had taken when nothing was known of this one (O3). */
  readonly #doubts = new Map<string, number>();

  constructor(outlet: Outlet, address: string) {
    this.outlet = outlet;
    this.address = address;
    this.loose = new Line(this, undefined);
  }

  /** For people. */
  get name(): string {
    return `${this.outlet.target}:${this.address}`;
  }

  /** The line of that name; without one, that in which nothing waits for anything. */
  line(name: string | undefined): Line {
    if (name === undefined) return this.loose;
    const known = this.lines.get(name);
    if (known !== undefined) return known;
    const line = new Line(this, name);
    this.lines.set(name, line);
    return line;
  }

  /** Whether another message of the line of that name may be kept: while it is only tried, the first of some lines. */
  hasRoomFor(name: string | undefined): boolean {
    if (this.state.kind === 'open') return true;
    if (this.state.kind === 'held' || this.kept >= probesMax) return false;
    return name === undefined || (this.lines.get(name)?.rows.length ?? 0) === 0;
  }

  /** Nothing of it is in memory, nor to be read again. */
  get isEmpty(): boolean {
    return this.kept === 0 && this.lines.size === 0 && this.passed.isEmpty && this.loose.isForgettable;
  }

  /** Nothing is known of it either. */
  get isForgettable(): boolean {
    return this.isEmpty && this.failures === 0 && this.state.kind === 'open' && this.#doubts.size === 0;
  }

  /**
   * To be asked now and then: whether what is known of it matters no longer, as its messages have become those of another
   * relay. For a while they may only be on their way back into memory.
   */
  get isStale(): boolean {
    this.#emptyLooks = this.isEmpty && this.state.kind !== 'held' ? this.#emptyLooks + 1 : 0;
    return this.#emptyLooks > emptyLooksMax;
  }

  /** O2 */
  isAlone(row: Row): boolean {
    return isSuspect(row) || this.#doubts.has(row.message.id);
  }

  hasTaken({ message }: Row): void {
    this.#taken++;
    this.failures = 0;
    this.#doubts.delete(message.id);
  }

  /** Nothing is known of the message: whether that is its own fault (O3). */
  isAtFault({ message }: Row): boolean {
    const before = this.#doubts.get(message.id);
    if (this.#doubts.size >= doubtsMax) this.#doubts.clear();
    this.#doubts.set(message.id, this.#taken);
    return before !== undefined && before < this.#taken;
  }

  forgetDoubt({ message }: Row): void {
    this.#doubts.delete(message.id);
  }
}

/**
 * - `held`: it takes nothing, for a while.
 * - `probing`: it is tried with one message.
 */
export type DestinationState =
  | { readonly kind: 'open' }
  | { readonly kind: 'held'; readonly forget: () => void }
  | { readonly kind: 'probing' };
