/**
 * One concurrency limit and one circuit for each destination, so that a slow or dead participant holds up nobody else.
 * A circuit only delays calls; it never changes a decision.
 *
 * Nobody queues at an open circuit, and no queue grows without limit: whoever waits there is sent away for a while, and
 * with nothing to do needs no memory. Otherwise one dead participant would fill it for all.
 */
import { planted } from '../util/planted-bug.ts';
import type { Clock, Observer } from './ports.ts';
import type { EngineLimits } from './limits.ts';

/** Destinations that are remembered; beyond it, those at which nothing happens are forgotten. */
export const destinationsMax = 1_000;

type CircuitLimits = Pick<
  EngineLimits,
  | 'callsPerDestinationMax'
  | 'callsWaitingMax'
  | 'queueFullPauseMs'
  | 'circuitFailures'
  | 'circuitPauseMs'
  | 'circuitPauseMaxMs'
>;

export class Destinations {
  readonly #byName = new Map<string, Destination>();
  readonly #clock: Clock;
  readonly #observe: Observer;
  readonly #limits: CircuitLimits;

  constructor(clock: Clock, observe: Observer, limits: CircuitLimits) {
    this.#clock = clock;
    this.#observe = observe;
    this.#limits = limits;
  }

  of(name: string): Destination {
    let destination = this.#byName.get(name);
    if (destination === undefined) {
      if (this.#byName.size >= destinationsMax) this.#forgetIdle();
      destination = new Destination(name, this.#clock, this.#observe, this.#limits);
      this.#byName.set(name, destination);
    }
    return destination;
  }

  /** Their failures so far are forgotten with them: that only makes a circuit slower to open. */
  #forgetIdle(): void {
    for (const [name, destination] of this.#byName) if (destination.isIdle) this.#byName.delete(name);
  }

  /** No circuit changes any more. */
  close(): void {
    for (const destination of this.#byName.values()) destination.close();
  }
}

interface Waiting {
  /** Whoever is started says when it `ended`, or that it `skipped`. */
  start(): void;
  /** Ask again after this time, or some more. */
  postpone(pauseMs: number): void;
}

type Circuit =
  | { readonly kind: 'closed'; readonly failures: number }
  /** No call leaves until the pause is over. */
  | { readonly kind: 'open'; readonly pauseMs: number; readonly untilMs: number; readonly cancel: () => void }
  /** One call finds out. */
  | { readonly kind: 'probing'; readonly pauseMs: number };

export class Destination {
  readonly #name: string;
  readonly #clock: Clock;
  readonly #observe: Observer;
  readonly #limits: CircuitLimits;
  #active = 0;
  #waiting: Waiting[] = [];
  #circuit: Circuit = { kind: 'closed', failures: 0 };
  #draining = false;

  constructor(name: string, clock: Clock, observe: Observer, limits: CircuitLimits) {
    this.#name = name;
    this.#clock = clock;
    this.#observe = observe;
    this.#limits = limits;
  }

  /** Nothing is under way, nothing waits, and the circuit is closed. */
  get isIdle(): boolean {
    return this.#active === 0 && this.#waiting.length === 0 && this.#circuit.kind === 'closed';
  }

  /** Starts it now or when there is room, in the order asked; or postpones it. */
  enter(call: Waiting): void {
    const circuit = this.#circuit;
    if (circuit.kind === 'open')
      return call.postpone(Math.max(1, circuit.untilMs - this.#clock.monotonicMs()));
    if (this.#waiting.length >= this.#limits.callsWaitingMax)
      return call.postpone(this.#limits.queueFullPauseMs);
    if (this.#waiting.length > 0 || !this.#hasRoom()) {
      this.#waiting.push(call);
      return;
    }
    this.#active++;
    call.start();
  }

  /** `silent`: nobody answered. A refusal is an answer. */
  ended(how: 'answered' | 'silent'): void {
    this.#active--;
    if (how === 'answered') this.#answered();
    else this.#silent();
    this.#drain();
  }

  /** Gives back a turn that was not used. */
  skipped(): void {
    this.#active--;
    this.#drain();
  }

  close(): void {
    if (this.#circuit.kind === 'open') this.#circuit.cancel();
  }

  #hasRoom(): boolean {
    switch (this.#circuit.kind) {
      case 'closed':
        return this.#active < this.#limits.callsPerDestinationMax || planted('calls-without-limit');
      case 'probing':
        return this.#active === 0;
      case 'open':
        return false;
    }
  }

  /** One loop, however many of those it starts end or skip at once: each would otherwise start the next one inside itself. */
  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    while (this.#hasRoom()) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#active++;
      next.start();
    }
    this.#draining = false;
  }

  #answered(): void {
    this.close();
    if (this.#circuit.kind !== 'closed')
      this.#observe({ kind: 'circuit', destination: this.#name, state: 'closed' });
    this.#circuit = { kind: 'closed', failures: 0 };
  }

  #silent(): void {
    const circuit = this.#circuit;
    if (circuit.kind === 'open') return;
    if (circuit.kind === 'probing')
      return this.#open(Math.min(circuit.pauseMs * 2, this.#limits.circuitPauseMaxMs));
    const failures = circuit.failures + 1;
    if (failures < this.#limits.circuitFailures) this.#circuit = { kind: 'closed', failures };
    else this.#open(this.#limits.circuitPauseMs);
  }

  #open(pauseMs: number): void {
    const cancel = this.#clock.schedule(pauseMs, () => {
      this.#circuit = { kind: 'probing', pauseMs };
      this.#drain();
    });
    this.#circuit = { kind: 'open', pauseMs, untilMs: this.#clock.monotonicMs() + pauseMs, cancel };
    this.#observe({ kind: 'circuit', destination: this.#name, state: 'open' });
    for (const waiting of this.#waiting.splice(0)) waiting.postpone(pauseMs);
  }
}
