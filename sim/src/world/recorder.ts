/**
 * Writes down what happens: the lists of the history, the hash over all of it, and which rare things were met.
 * Nothing it does changes what happens.
 */
import type {
  AlarmRecord,
  BoundsSample,
  CallRecord,
  EffectRecord,
  Handled,
  LeaseRecord,
  LifeRecord,
  Operation,
  StoreWrite,
} from '../history.ts';
import type { Schedule } from './schedule.ts';
import type { TraceHash } from './trace-hash.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class Recorder {
  readonly operations: Mutable<Operation>[] = [];
  readonly writes: Mutable<StoreWrite>[] = [];
  readonly leases: LeaseRecord[] = [];
  readonly calls: Mutable<CallRecord>[] = [];
  readonly handled: Handled[] = [];
  readonly effects: EffectRecord[] = [];
  readonly alarms: AlarmRecord[] = [];
  readonly bounds: BoundsSample[] = [];
  readonly lives: LifeRecord[] = [];
  /** What was met at least once, by name. */
  readonly met = new Set<string>();
  readonly #schedule: Schedule;
  readonly #hash: TraceHash;
  #seq = 0;

  constructor(schedule: Schedule, hash: TraceHash) {
    this.#schedule = schedule;
    this.#hash = hash;
  }

  /** The next place in the order of all records, with what tells this record from others. */
  stamp(what: string, about: string): { readonly seq: number; readonly at: number } {
    this.#hash.text(what);
    this.#hash.text(about);
    return { seq: ++this.#seq, at: this.#schedule.now };
  }

  /** Something rare happened that every full run must meet. */
  sometimes(what: string): void {
    this.met.add(what);
  }

  life(kind: LifeRecord['kind'], process: string): void {
    this.lives.push({ ...this.stamp(kind, process), kind, process });
    this.sometimes(`life: ${process.startsWith('coordinator') ? 'coordinator' : 'participant'} ${kind}`);
  }

  operation(asked: Omit<Operation, 'seq' | 'at' | 'id' | 'answer'>): Mutable<Operation> {
    const stamp = this.stamp(asked.request.kind, `${asked.by} ${asked.coordinator} ${asked.gid}`);
    const operation: Mutable<Operation> = {
      ...stamp,
      ...asked,
      id: this.operations.length,
      answer: { kind: 'none' },
    };
    this.operations.push(operation);
    return operation;
  }

  call(sent: Omit<CallRecord, 'seq' | 'at' | 'id' | 'reply'>): Mutable<CallRecord> {
    const stamp = this.stamp(sent.op, `${sent.coordinator} ${sent.gid} ${sent.branch} ${sent.attempt}`);
    const record: Mutable<CallRecord> = { ...stamp, ...sent, id: this.calls.length, reply: undefined };
    this.calls.push(record);
    return record;
  }

  write(done: Omit<StoreWrite, 'seq' | 'at'>): Mutable<StoreWrite> {
    const { kind, outcome, gid, after } = done;
    const stamp = this.stamp(`${kind} ${outcome}`, `${gid} ${after?.status ?? ''} ${after?.revision ?? 0}`);
    const record = { ...stamp, ...done };
    this.writes.push(record);
    return record;
  }

  handle(done: Omit<Handled, 'seq' | 'at'>): void {
    const { participant, gid, branch, op, how } = done;
    this.handled.push({ ...this.stamp(how, `${participant} ${gid} ${branch} ${op}`), ...done });
    this.sometimes(`handled: ${how}`);
  }

  effect(done: Omit<EffectRecord, 'seq' | 'at'>): void {
    const { participant, gid, branch, op, account, delta, held } = done;
    const stamp = this.stamp(op, `${participant} ${gid} ${branch} ${account} ${delta} ${held}`);
    this.effects.push({ ...stamp, ...done });
  }

  lease(done: Omit<LeaseRecord, 'seq' | 'at'>): void {
    this.leases.push({ ...this.stamp(done.kind, `${done.coordinator} ${done.epoch}`), ...done });
    this.sometimes(`lease: ${done.kind}`);
  }

  alarm(raised: Omit<AlarmRecord, 'seq' | 'at'>): void {
    this.alarms.push({ ...this.stamp(raised.code, `${raised.coordinator} ${raised.gid ?? ''}`), ...raised });
    this.sometimes(`alarm: ${raised.code}`);
  }

  sample(taken: Omit<BoundsSample, 'seq' | 'at'>): void {
    const { coordinator, transactions, writesWaiting, timers } = taken;
    this.bounds.push({
      ...this.stamp('sample', `${coordinator} ${transactions} ${writesWaiting} ${timers}`),
      ...taken,
    });
  }

  /** The latest place in the order. */
  get seq(): number {
    return this.#seq;
  }
}
