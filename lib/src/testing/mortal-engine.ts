/** An engine that can be killed or frozen between any two of its steps, while store, participants and time go on. */
import { createEngine, type Engine, type EngineOptions } from '../engine/engine.ts';
import type { BranchCaller, Clock, Store } from '../engine/ports.ts';

/** Where a process may die: what it asked for did or did not happen, and it never learns. */
export type Step = 'before commit' | 'after commit' | 'before call' | 'after call';

export interface Mortal {
  readonly engine: Engine;
  /** As kill -9: nothing of it runs any more, and what it waits for never comes. */
  crash(): void;
  /** As SIGSTOP: nothing of it runs until `resume`, and then everything that came meanwhile at once. */
  pause(): void;
  resume(): void;
}

/** `at` is told of every step, and may crash or pause the engine there. */
export function mortalEngine(
  options: EngineOptions,
  at: (step: Step, self: Mortal) => void = () => undefined,
): Mortal {
  let life: 'alive' | 'paused' | 'dead' = 'alive';
  let missed: (() => void)[] = [];

  const whenAlive = (run: () => void): void => {
    if (life === 'alive') run();
    else if (life === 'paused') missed.push(run);
  };
  const clock: Clock = {
    monotonicMs: () => options.clock.monotonicMs(),
    schedule: (delayMs, callback) => options.clock.schedule(delayMs, () => whenAlive(callback)),
    afterTurn: (callback) => options.clock.afterTurn(() => whenAlive(callback)),
  };
  const gated = <T>(work: () => Promise<T>, before?: Step, after?: Step): Promise<T> =>
    new Promise((resolve, reject) => {
      if (before !== undefined) at(before, self);
      if (life === 'dead') return;
      work().then(
        (value) => {
          if (after !== undefined && life === 'alive') at(after, self);
          whenAlive(() => resolve(value));
        },
        (error: Error) => whenAlive(() => reject(error)),
      );
    });
  const { store: inner, caller: participants } = options;
  const store: Store = {
    commit: (batch) => gated(() => inner.commit(batch), 'before commit', 'after commit'),
    load: (gid) => gated(() => inner.load(gid)),
    list: (query) => gated(() => inner.list(query)),
    join: (...asked) => gated(() => inner.join(...asked)),
    renew: (...asked) => gated(() => inner.renew(...asked)),
    leave: (epoch) => gated(() => inner.leave(epoch)),
    claim: (epoch, limit) => gated(() => inner.claim(epoch, limit)),
    prune: (policy) => gated(() => inner.prune(policy)),
    close: () => inner.close(),
  };
  const caller: BranchCaller = {
    call: (call, signal) => gated(() => participants.call(call, signal), 'before call', 'after call'),
    destinationOf: (address) => participants.destinationOf(address),
    whyNotAllowed: (address) => participants.whyNotAllowed(address),
  };
  const self: Mortal = {
    engine: createEngine({ ...options, clock, store, caller }),
    crash: () => {
      life = 'dead';
      missed = [];
    },
    pause: () => {
      if (life === 'alive') life = 'paused';
    },
    resume: () => {
      if (life !== 'paused') return;
      life = 'alive';
      for (const run of missed.splice(0)) run();
    },
  };
  return self;
}
