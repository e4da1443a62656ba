/**
 * The network between named places: every message in one direction has a fate of its own.
 *
 * - W1 A message arrives never, once or twice, after a time of its own, and so in any order.
 * - W2 A cut link loses what is sent in that direction while it is cut. A clogged one holds it until it is cleared.
 */
import type { Recorder } from './recorder.ts';
import { stream, type Rng } from './random.ts';
import type { Schedule } from './schedule.ts';
import type { Weather } from './weather.ts';

export class Network {
  readonly #schedule: Schedule;
  readonly #weather: Weather;
  readonly #recorder: Recorder;
  readonly #latency: Rng;
  readonly #loss: Rng;
  readonly #duplicate: Rng;
  readonly #slow: Rng;
  readonly #seed: number;
  readonly #baseMs = new Map<string, number>();
  readonly #cut = new Map<string, number>();
  readonly #clogged = new Map<string, (() => void)[]>();

  constructor(seed: number, schedule: Schedule, weather: Weather, recorder: Recorder) {
    this.#seed = seed;
    this.#schedule = schedule;
    this.#weather = weather;
    this.#recorder = recorder;
    this.#latency = stream(seed, 'network/latency');
    this.#loss = stream(seed, 'network/loss');
    this.#duplicate = stream(seed, 'network/duplicate');
    this.#slow = stream(seed, 'network/slow');
  }

  /** `lost` is told at once when the message will never arrive: the sender does not know, but may come to notice. */
  send(from: string, to: string, deliver: () => void, lost: () => void = () => undefined): void {
    const link = linkOf(from, to);
    if (this.isCut(from, to)) {
      this.#recorder.sometimes('network: lost to a cut');
      return lost();
    }
    if (this.#weather.loss > 0 && this.#loss.chance(this.#weather.loss)) {
      this.#recorder.sometimes('network: lost');
      return lost();
    }
    this.#carry(link, deliver);
    if (this.#weather.duplicate > 0 && this.#duplicate.chance(this.#weather.duplicate)) {
      this.#recorder.sometimes('network: duplicated');
      this.#carry(link, deliver);
    }
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.has(linkOf(from, to));
  }

  /** Cuts count: two faults may cut one link. Returns what mends it. */
  cut(from: string, to: string): () => void {
    const link = linkOf(from, to);
    this.#cut.set(link, (this.#cut.get(link) ?? 0) + 1);
    let mended = false;
    return () => {
      if (mended) return;
      mended = true;
      const left = (this.#cut.get(link) ?? 0) - 1;
      if (left > 0) this.#cut.set(link, left);
      else this.#cut.delete(link);
    };
  }

  clog(from: string, to: string): () => void {
    const link = linkOf(from, to);
    if (!this.#clogged.has(link)) this.#clogged.set(link, []);
    return () => {
      const held = this.#clogged.get(link) ?? [];
      this.#clogged.delete(link);
      for (const deliver of held) this.#schedule.after(this.#latency.next() * 20, deliver);
    };
  }

  #carry(link: string, deliver: () => void): void {
    this.#schedule.after(this.#delayMs(link), () => {
      const held = this.#clogged.get(link);
      if (held === undefined) return deliver();
      this.#recorder.sometimes('network: clogged');
      held.push(deliver);
    });
  }

  #delayMs(link: string): number {
    let baseMs = this.#baseMs.get(link);
    if (baseMs === undefined) {
      baseMs = 0.2 + stream(this.#seed, `network/base/${link}`).next() * 4;
      this.#baseMs.set(link, baseMs);
    }
    const { slow, slowMs } = this.#weather;
    const jitterMs = this.#latency.next() * baseMs;
    if (slow === 0 || !this.#slow.chance(slow)) return baseMs + jitterMs;
    this.#recorder.sometimes('network: slow');
    return baseMs + jitterMs + this.#slow.next() * slowMs;
  }
}

function linkOf(from: string, to: string): string {
  return `${from}>${to}`;
}
