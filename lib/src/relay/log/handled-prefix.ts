/**
 * Up to where a log is handled: what may be acknowledged of it.
 *
 * - H1 A position is acknowledged only when everything before it is handled, however the looks of the relay overtake each
 *   other.
 * - H2 A commit is handled once a look has ended that began after the commit was visible.
 * - H3 Looks are numbered in the order they began. One that has ended says nothing of those before it.
 */
export class HandledPrefix<Position, Commit> {
  /** In the order of the log; the first is never `handled`. */
  #entries: Entry<Position, Commit>[] = [];
  #acknowledged: Position | undefined;
  #unseen = 0;

  /** Undefined until anything is handled. */
  get acknowledged(): Position | undefined {
    return this.#acknowledged;
  }

  /** How many commits are not known to be visible yet. */
  get unseen(): number {
    return this.#unseen;
  }

  /** Those that are not known to be visible yet, oldest first. */
  unseenCommits(): readonly Commit[] {
    return this.#entries.flatMap((entry) => (entry.kind === 'unseen' ? [entry.commit] : []));
  }

  /** A commit that the relay has to look for. */
  committed(position: Position, commit: Commit): void {
    this.#entries.push({ kind: 'unseen', position, commit });
    this.#unseen++;
  }

  /** Everything up to this position is of others. */
  passed(position: Position): void {
    const last = this.#entries.at(-1);
    if (last === undefined) this.#acknowledged = position;
    else if (last.kind === 'handled') last.position = position;
    else this.#entries.push({ kind: 'handled', position });
  }

  /** These commits are visible, and a look of this number begins now. Gives back how many there are. */
  seen(isVisible: (commit: Commit) => boolean, look: number): number {
    const before = this.#unseen;
    this.#entries = this.#entries.map((entry) => {
      if (entry.kind !== 'unseen' || !isVisible(entry.commit)) return entry;
      this.#unseen--;
      return { kind: 'looking', position: entry.position, look };
    });
    this.#merge();
    return before - this.#unseen;
  }

  /** The look of this number has ended. */
  looked(look: number): void {
    this.#entries = this.#entries.map((entry) =>
      entry.kind === 'looking' && entry.look === look ? { kind: 'handled', position: entry.position } : entry,
    );
    this.#merge();
    const [first] = this.#entries;
    if (first?.kind !== 'handled') return;
    this.#acknowledged = first.position;
    this.#entries.shift();
  }

  /** Neighbours that wait for the same are one, so that a stalled relay costs no memory for each commit. */
  #merge(): void {
    const merged: Entry<Position, Commit>[] = [];
    for (const entry of this.#entries) {
      const last = merged.at(-1);
      if (last !== undefined && waitsForTheSame(last, entry)) merged[merged.length - 1] = entry;
      else merged.push(entry);
    }
    this.#entries = merged;
  }
}

type Entry<Position, Commit> =
  | { readonly kind: 'unseen'; readonly position: Position; readonly commit: Commit }
  | { readonly kind: 'looking'; readonly position: Position; readonly look: number }
  | { readonly kind: 'handled'; position: Position };

function waitsForTheSame<P, C>(a: Entry<P, C>, b: Entry<P, C>): boolean {
  if (a.kind === 'looking' && b.kind === 'looking') return a.look === b.look;
  return a.kind === 'handled' && b.kind === 'handled';
}
