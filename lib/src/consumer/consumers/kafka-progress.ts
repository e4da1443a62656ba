/** How far a member of a group has come in one partition, while that is its own. */
import { planted } from '../../util/planted-bug.ts';

export class PartitionProgress {
  readonly topic: string;
  readonly partition: number;
  /** Taken and not done, or done while one before is not; in the order of the log. */
  readonly #taken: bigint[] = [];
  readonly #done = new Set<bigint>();
  #next: bigint;
  #isRevoked = false;

  constructor(topic: string, partition: number, start: bigint) {
    this.topic = topic;
    this.partition = partition;
    this.#next = start;
  }

  /** Behind everything that was taken. */
  get next(): bigint {
    return this.#next;
  }

  /** Everything before it is done, and so it may be committed. */
  get position(): bigint {
    return planted('offset-before-work') ? this.#next : (this.#taken[0] ?? this.#next);
  }

  /** It is somebody else's now: nothing of it is begun or committed any more. */
  get isRevoked(): boolean {
    return this.#isRevoked;
  }

  /** False for a message that was taken before. */
  take(offset: bigint): boolean {
    if (offset < this.#next) return false;
    this.#taken.push(offset);
    this.#next = offset + 1n;
    return true;
  }

  /** What the log has before this offset and does not give out: markers, and what is gone. */
  skipTo(offset: bigint): void {
    if (offset > this.#next) this.#next = offset;
  }

  done(offset: bigint): void {
    this.#done.add(offset);
    while (this.#taken[0] !== undefined && this.#done.delete(this.#taken[0])) this.#taken.shift();
  }

  revoke(): void {
    this.#isRevoked = true;
  }
}
