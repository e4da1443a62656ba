/** What the facts are told with: a store, and short ways to say what happens to it. */
import { assert } from '../../util/assert.ts';
import { isSettleError, type ErrorCode } from '../../util/errors.ts';
import type { StoredMessage } from '../../outbox/message.ts';
import type { ClaimedLane, DeadMessage, FailedMessage, LaneToken, RelayStore, Settlement } from '../store.ts';
import type { ContractPlace, Lack, NewMessage } from './place.ts';

/** Milliseconds of a lease that nothing in a fact outlives by itself. */
export const ttlMs = 60_000;

/** A store, and short ways to say what happens to it. */
export class World {
  readonly opened: ContractPlace;

  constructor(opened: ContractPlace) {
    this.opened = opened;
  }

  get store(): RelayStore {
    return this.opened.store;
  }

  /** Takes free lanes over; all that are asked for have to be had. */
  async hold(relay: string, ...lanes: readonly number[]): Promise<readonly ClaimedLane[]> {
    const { free } = await this.store.heartbeat(relay, ttlMs);
    const wanted = free.filter(({ lane }) => lanes.includes(lane));
    const got = await this.store.claim(relay, ttlMs, wanted);
    same(lanesOf(got), [...lanes].toSorted(byNumber), `the lanes that ${relay} got`);
    return got.toSorted((a, b) => lanes.indexOf(a.lane) - lanes.indexOf(b.lane));
  }

  /** The only one that is held. */
  async holdOne(relay: string, lane: number): Promise<ClaimedLane> {
    const [held] = await this.hold(relay, lane);
    assert(held !== undefined, 'hold gives what is asked for');
    return held;
  }

  async read(lane: number, after = 0n, limit = 1_000): Promise<readonly StoredMessage[]> {
    return await this.store.read([{ lane, after, limit }]);
  }

  async ids(lane: number): Promise<readonly string[]> {
    return (await this.read(lane)).map(({ id }) => id);
  }

  /** Writes messages with these ids to a lane, and gives back how they are stored. */
  async written(lane: number, ...ids: readonly string[]): Promise<readonly StoredMessage[]> {
    await this.opened.write(ids.map((id) => message({ id, lane })));
    const stored = await this.read(lane);
    return ids.map((id) => {
      const found = stored.find((one) => one.id === id);
      assert(found !== undefined, `${id} is in lane ${lane}`);
      return found;
    });
  }

  async writtenOne(lane: number, id: string): Promise<StoredMessage> {
    const [one] = await this.written(lane, id);
    assert(one !== undefined, 'one was written');
    return one;
  }

  settle(
    { lane, token }: LaneToken,
    what: Partial<Omit<Settlement, 'lane' | 'token'>>,
  ): Promise<readonly number[]> {
    return this.store.settle([settlement({ lane, token }, what)]);
  }

  /** Lets messages die, in this order, under a token of their lane. */
  async bury(
    held: LaneToken,
    messages: readonly StoredMessage[],
    as: Partial<DeadMessage> = {},
  ): Promise<void> {
    for (const { seq } of messages) {
      same(await this.settle(held, { dead: [deadOf(seq, as)] }), [], 'lost lanes');
      // One after the other, also by their time.
      await this.opened.pass(1);
    }
  }

  async deadIds(): Promise<readonly string[]> {
    const { items } = await this.store.dead.list({}, { limit: 1_000 });
    return items.map(({ id }) => id);
  }
}

export interface Fact {
  readonly check: (world: World) => Promise<void>;
  readonly needs?: Lack;
}

export type Facts = Readonly<Record<string, Fact>>;

export function message(given: Partial<NewMessage> & Pick<NewMessage, 'id' | 'lane'>): NewMessage {
  return {
    type: 'order.placed',
    version: 1,
    target: 'kafka',
    address: 'orders',
    key: undefined,
    payload: '{"n":1}',
    headers: {},
    delayMs: undefined,
    ...given,
  };
}

export function settlement(
  { lane, token }: LaneToken,
  what: Partial<Omit<Settlement, 'lane' | 'token'>>,
): Settlement {
  return { done: [], started: [], failed: [], dead: [], ...what, lane, token };
}

export function failedOf(seq: bigint, given: Partial<FailedMessage> = {}): FailedMessage {
  return { attempts: 1, reason: 'broken', retryInMs: 1_000, place: 'stay', ...given, seq };
}

export function deadOf(seq: bigint, given: Partial<DeadMessage> = {}): DeadMessage {
  return { attempts: 1, cause: 'poison', reason: 'broken', blocksKey: false, ...given, seq };
}

export async function refuses(code: ErrorCode, call: Promise<unknown>, what = 'the call'): Promise<void> {
  const outcome = await call.then(
    () => 'nothing',
    (error: unknown) => (isSettleError(error) ? error.code : String(error)),
  );
  same(outcome, code, `what ${what} rejects with`);
}

export function lanesOf(of: readonly { readonly lane: number }[]): number[] {
  return of.map(({ lane }) => lane).toSorted(byNumber);
}

export function byNumber(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function same(actual: unknown, expected: unknown, what = 'it'): void {
  const [is, should] = [textOf(actual), textOf(expected)];
  if (is !== should) throw new Error(`${what} is ${is.slice(0, 2_000)}, expected ${should.slice(0, 2_000)}`);
}

/** Members in the order of their names, so that only what they hold counts. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member === 'bigint') return `${member}n`;
    if (member === undefined) return 'undefined';
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
