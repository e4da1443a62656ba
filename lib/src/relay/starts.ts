/**
 * The guard against messages that relays die of. After a take-over from one that vanished, what is about to be published is
 * written down first, as is what has outlived a relay: who dies then has left behind of what.
 */
import type { Lane } from './lane.ts';
import { isSuspect, type Row } from './line.ts';
import type { Settler } from './settler.ts';

/** A batch that waits until its messages are written down. */
interface Noting {
  readonly left: Set<Row>;
  readonly resolve: (isNoted: boolean) => void;
}

export class Starts {
  readonly #settler: Pick<Settler, 'add' | 'flush'>;
  readonly #notings = new Set<Noting>();

  constructor(settler: Pick<Settler, 'add' | 'flush'>) {
    this.#settler = settler;
  }

  /** Whether the batch may be published: not if one of its lanes was lost meanwhile, or the signal has aborted. */
  note(batch: readonly Row[], signal: AbortSignal): Promise<boolean> | true {
    const careful = batch.filter((row) => row.lane.careful > 0 || isSuspect(row));
    if (careful.length === 0) return true;
    for (const row of careful) {
      if (row.lane.careful > 0) row.lane.careful--;
      row.isNoted = true;
      this.#settler.add(row.lane, { kind: 'started', seq: row.message.seq, starts: row.starts + 1 });
    }
    return new Promise((resolve) => {
      const noting: Noting = { left: new Set(careful), resolve };
      this.#notings.add(noting);
      signal.addEventListener('abort', () => this.#end(noting, false));
      this.#settler.flush();
    });
  }

  isWritten(row: Row): void {
    for (const noting of this.#notings) {
      if (noting.left.delete(row) && noting.left.size === 0) this.#end(noting, true);
    }
  }

  /** The lane is another relay's now. */
  leave(lane: Lane): void {
    for (const noting of this.#notings) {
      for (const row of noting.left) if (row.lane === lane) this.#end(noting, false);
    }
  }

  #end(noting: Noting, isNoted: boolean): void {
    this.#notings.delete(noting);
    noting.resolve(isNoted);
  }
}
