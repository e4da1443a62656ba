/**
 * Writes down what became of messages. What gathers while one statement is under way goes with the next: no timer, and no
 * more statements than the database has time for.
 *
 * - W1 Nothing is forgotten before the store has said that it is written: until then its message stays in memory (N1).
 * - W2 What the store did not say is written again; the same twice does no harm.
 * - W3 What a lane's new owner refuses is gone from here too: the message is his.
 */
import type { RelayClock } from './clock.ts';
import { backoffMs } from './clock.ts';
import type { Lane } from './lane.ts';
import type { DeadMessage, FailedMessage, RelayStore, Settlement, StartedMessage } from './store.ts';

export type Fate =
  | { readonly kind: 'done'; readonly seq: bigint }
  | ({ readonly kind: 'started' } & StartedMessage)
  | ({ readonly kind: 'failed' } & FailedMessage)
  | ({ readonly kind: 'dead' } & DeadMessage);

export interface SettlerPorts {
  readonly store: Pick<RelayStore, 'settle'>;
  readonly clock: RelayClock;
  readonly random: () => number;
  /** All of these are written down, and memory may let them go. */
  readonly written: (lane: Lane, fates: readonly Fate[]) => void;
  /** The lane has another owner. */
  readonly lost: (lane: Lane) => void;
  readonly failed: (error: unknown) => void;
}

const again = { baseMs: 50, maxMs: 2_000 };

export class Settler {
  readonly #ports: SettlerPorts;
  #waiting = new Map<Lane, Fate[]>();
  #isWriting = false;

  constructor(ports: SettlerPorts) {
    this.#ports = ports;
  }

  get isIdle(): boolean {
    return !this.#isWriting && this.#waiting.size === 0;
  }

  add(lane: Lane, fate: Fate): void {
    const fates = this.#waiting.get(lane);
    if (fates === undefined) this.#waiting.set(lane, [fate]);
    else fates.push(fate);
  }

  /** Writes what has gathered, unless a statement is under way: then it goes with the next. */
  flush(): void {
    if (!this.#isWriting && this.#waiting.size > 0) void this.#write();
  }

  async #write(): Promise<void> {
    const { store, clock, random, written, lost, failed } = this.#ports;
    this.#isWriting = true;
    const taken = this.#waiting;
    this.#waiting = new Map();
    for (let failures = 1; ; failures++) {
      for (const lane of taken.keys()) if (lane.state === 'gone') taken.delete(lane);
      try {
        const refused = new Set(taken.size === 0 ? [] : await store.settle([...taken].map(settlementOf)));
        this.#isWriting = false;
        for (const [lane, fates] of taken) {
          if (lane.state === 'gone') continue;
          if (refused.has(lane.lane)) lost(lane);
          else written(lane, fates);
        }
        return this.flush();
      } catch (error) {
        failed(error);
        await new Promise<void>(
          (resolve) => void clock.schedule(backoffMs(failures, again, random), resolve),
        );
      }
    }
  }
}

function settlementOf([{ lane, token }, fates]: readonly [Lane, readonly Fate[]]): Settlement {
  const done: bigint[] = [];
  const started: StartedMessage[] = [];
  const failed: FailedMessage[] = [];
  const dead: DeadMessage[] = [];
  for (const fate of fates) {
    if (fate.kind === 'done') done.push(fate.seq);
    else if (fate.kind === 'started') started.push(fate);
    else if (fate.kind === 'failed') failed.push(fate);
    else dead.push(fate);
  }
  return { lane, token, done, started, failed, dead };
}
