import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { saga, unchecked } from '../../client/index.ts';
import { openCoordinator, type EmbeddedCoordinator } from '../../embedded/index.ts';
import { memoryStore } from '../../store/memory/index.ts';
import { SettleError, type ErrorCode } from '../../util/errors.ts';
import type { OutgoingMessage, PublishResult } from '../publisher.ts';
import { coordinatorPublisher, type StartTransaction } from './coordinator.ts';

const placed: string[] = [];
const placeOrder = saga('place-order', { input: unchecked<{ sku: string }>() }).step('place', {
  do: ({ sku }) => void placed.push(sku),
});

describe('a message that starts a transaction', () => {
  let settle: EmbeddedCoordinator;

  beforeAll(async () => {
    settle = await openCoordinator({ store: memoryStore(), definitions: [placeOrder] });
  });

  afterAll(() => settle.close());

  const place: StartTransaction = ({ payload }, options) =>
    settle.run(placeOrder, JSON.parse(payload) as { sku: string }, options);

  it('starts one, however often it is published', async () => {
    const order = message({ id: 'order-1', payload: '{"sku":"tea"}' });
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(await publish([order], { order: place })).toEqual([{ kind: 'published', ref: 'order-1' }]);
    }
    await settle.get('order-1', { waitMs: 5_000 });
    expect(placed).toEqual(['tea']);
  });

  it('is poison when its id stands for another transaction already', async () => {
    await publish([message({ id: 'order-2', payload: '{"sku":"tea"}' })], { order: place });
    const [result] = await publish([message({ id: 'order-2', payload: '{"sku":"salt"}' })], { order: place });
    expect(result).toMatchObject({ kind: 'poison', reason: expect.stringContaining('gid_conflict') });
  });

  it('is poison when it was started under another gid than the one it was given', async () => {
    const starts = { order: () => settle.run(placeOrder, { sku: 'tea' }, { waitMs: 0 }) };
    expect(await publish([message({})], starts)).toMatchObject([{ kind: 'poison' }]);
  });

  it('is retriable when its address or its id cannot be used', async () => {
    const results = await publish(
      [message({ address: 'unknown' }), message({ address: 'constructor' }), message({ id: 'no gid' })],
      { order: place },
    );
    expect(results.map(({ kind }) => kind)).toEqual(['retriable', 'retriable', 'retriable']);
  });
});

describe('what a coordinator answers', () => {
  const answers: [ErrorCode, PublishResult['kind']][] = [
    ['unavailable', 'unavailable'],
    ['overloaded', 'unavailable'],
    ['shutting_down', 'unavailable'],
    ['unauthenticated', 'unavailable'],
    ['body_too_large', 'poison'],
    ['invalid_request', 'retriable'],
    ['invalid_definition', 'retriable'],
    ['internal', 'retriable'],
  ];
  it.each(answers)('takes %s for %s', async (code, kind) => {
    const failing: StartTransaction = () => Promise.reject(new SettleError(code, 'no', { retryAfterMs: 7 }));
    const [result] = await publish([message({})], { order: failing });
    expect(result).toMatchObject({ kind, ...(kind === 'unavailable' ? { retryAfterMs: 7 } : {}) });
  });

  it('takes an error of the function for retriable, and silence for unknown', async () => {
    expect(await publish([message({})], { order: () => Promise.reject(new Error('broken')) })).toEqual([
      { kind: 'retriable', reason: 'broken' },
    ]);
    const publisher = coordinatorPublisher({ starts: { order: () => new Promise(() => undefined) } });
    expect(await publisher.publish([message({})], AbortSignal.timeout(20))).toMatchObject([
      { kind: 'unknown' },
    ]);
  });
});

function publish(batch: readonly OutgoingMessage[], starts: Readonly<Record<string, StartTransaction>>) {
  return coordinatorPublisher({ starts }).publish(batch, AbortSignal.timeout(10_000));
}

let made = 0;

function message(fields: Partial<OutgoingMessage>): OutgoingMessage {
  return {
    id: `m${made++}`,
    type: 'order.placed',
    version: 1,
    address: 'order',
    key: undefined,
    payload: '{"sku":"tea"}',
    contentType: 'application/json',
    headers: {},
    createdAtMs: 1_763_000_000_000,
    attempt: 1,
    ...fields,
  };
}
