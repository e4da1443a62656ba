/** A coordinator in a world of its own: virtual time, a memory store, scripted participants. */
import { isGid, type Gid } from '../core/ids.ts';
import type { Definition } from '../core/patterns.ts';
import { createEngine, type Engine, type EngineOptions } from '../engine/engine.ts';
import type { CommitReply, Store, Write } from '../engine/ports.ts';
import type { EngineEvent } from '../observe/events.ts';
import { memoryStore } from '../store/memory/index.ts';
import { assert } from '../util/assert.ts';
import { plant, type PlantedBug } from '../util/planted-bug.ts';
import { ScriptedCaller } from './scripted-caller.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface EngineWorld {
  readonly clock: VirtualClock;
  readonly store: WatchedStore;
  readonly participants: ScriptedCaller;
  readonly events: EngineEvent[];
  readonly engine: Engine;
  /** Another coordinator over the same store, participants and time. */
  another(options?: Partial<EngineOptions>): Engine;
}

export interface WorldOptions extends Partial<EngineOptions> {
  readonly bugs?: readonly PlantedBug[];
}

/** The engine has started when this resolves. */
export async function engineWorld({ bugs = [], ...options }: WorldOptions = {}): Promise<EngineWorld> {
  plant(...bugs);
  const clock = new VirtualClock();
  const store = new WatchedStore(memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() }));
  const participants = new ScriptedCaller();
  const events: EngineEvent[] = [];
  let gids = 0;
  const another = (more: Partial<EngineOptions> = {}): Engine =>
    createEngine({
      store,
      caller: participants,
      clock,
      // The longest pause there can be, so that tests know when a retry comes at the latest.
      random: { next: () => 0.999_999 },
      ids: { gid: () => gid(`generated-${++gids}`) },
      observe: (event) => events.push(event),
      ...options,
      ...more,
    });
  const engine = another();
  await clock.until(engine.start());
  return { clock, store, participants, events, engine, another };
}

export function gid(text: string): Gid {
  assert(isGid(text), `${text} is a gid`);
  return text;
}

/** Sequential steps with a compensation each, at `<service>/<name>`. */
export function sagaOf(...names: readonly string[]): Definition & { pattern: 'saga' } {
  const steps = names.map((name) => ({
    name,
    action: { address: `service/${name}` },
    compensation: { address: `service/undo-${name}` },
  }));
  return { pattern: 'saga', name: 'test-saga', steps };
}

export function tccOf(...names: readonly string[]): Definition & { pattern: 'tcc' } {
  return { pattern: 'tcc', name: 'test-tcc', decide: 'when-all-tried', branches: names.map(tccBranch) };
}

export function tccBranch(name: string): {
  readonly name: string;
  readonly try: { readonly address: string };
  readonly confirm: { readonly address: string };
  readonly cancel: { readonly address: string };
} {
  return {
    name,
    try: { address: `service/try-${name}` },
    confirm: { address: `service/confirm-${name}` },
    cancel: { address: `service/cancel-${name}` },
  };
}

type Intercept = (batch: readonly Write[], pass: () => Promise<CommitReply>) => Promise<CommitReply>;

/** A store whose commits and reads can be counted, held back and made to fail. */
export class WatchedStore implements Store {
  readonly batches: (readonly Write[])[] = [];
  loads = 0;
  /** What stands between the engine and the store's commit. */
  intercept: Intercept | undefined;
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  commit(batch: readonly Write[]): Promise<CommitReply> {
    this.batches.push(batch);
    const pass = (): Promise<CommitReply> => this.#store.commit(batch);
    return this.intercept === undefined ? pass() : this.intercept(batch, pass);
  }

  load(which: Gid): ReturnType<Store['load']> {
    this.loads++;
    return this.#store.load(which);
  }

  list(query: Parameters<Store['list']>[0]): ReturnType<Store['list']> {
    return this.#store.list(query);
  }

  join(...asked: Parameters<Store['join']>): ReturnType<Store['join']> {
    return this.#store.join(...asked);
  }

  renew(...asked: Parameters<Store['renew']>): ReturnType<Store['renew']> {
    return this.#store.renew(...asked);
  }

  leave(epoch: number): ReturnType<Store['leave']> {
    return this.#store.leave(epoch);
  }

  claim(epoch: number, limit: number): ReturnType<Store['claim']> {
    return this.#store.claim(epoch, limit);
  }

  prune(policy: Parameters<Store['prune']>[0]): ReturnType<Store['prune']> {
    return this.#store.prune(policy);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
