/** Where a member stands in its set; whoever added it takes it out with this. */
export interface Place<T> {
  readonly member: T;
  before: Place<T> | undefined;
  after: Place<T> | undefined;
}

/**
 * Members that come and go all the time, each taken out by whoever added it; nobody looks one up.
 *
 * Cheaper than a Set, which finds its members by hash and makes a new table every few: see `ChurningMap`. What was
 * taken out points to nothing, so that no old member keeps younger ones from being collected.
 */
export class LinkedSet<T> {
  #last: Place<T> | undefined;

  add(member: T): Place<T> {
    const place: Place<T> = { member, before: this.#last, after: undefined };
    if (this.#last !== undefined) this.#last.after = place;
    this.#last = place;
    return place;
  }

  /** Harmless when it was taken out before. */
  remove(place: Place<T>): void {
    const { before, after } = place;
    if (before !== undefined) before.after = after;
    if (after !== undefined) after.before = before;
    if (this.#last === place) this.#last = before;
    place.before = place.after = undefined;
  }

  /** All members, the one that was added last first. */
  members(): T[] {
    const all: T[] = [];
    for (let place = this.#last; place !== undefined; place = place.before) all.push(place.member);
    return all;
  }

  /** Takes out the one that was added last. */
  removeLast(): T | undefined {
    const place = this.#last;
    if (place !== undefined) this.remove(place);
    return place?.member;
  }
}
