// Each workload in small, so that one that no longer runs, or publishes nothing, is noticed.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { postgresDatabase } from '../services/postgres.ts';
import { testKafka } from '../services/kafka.ts';
import { testNats } from '../services/nats.ts';
import { brokers } from '../../bench/outbox/brokers.ts';
import { drain } from '../../bench/outbox/drain.ts';
import { wake } from '../../bench/outbox/wake.ts';
import { writers } from '../../bench/outbox/writers.ts';

const database = postgresDatabase();
const nats = testNats();
const kafka = testKafka();

beforeEach(() => {
  vi.stubEnv('SETTLE_BENCH_POSTGRES', database.url);
  vi.stubEnv('SETTLE_TEST_NATS', nats.url);
  vi.stubEnv('SETTLE_TEST_KAFKA', kafka.url);
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('bench/outbox', () => {
  test('drain: every contender that keeps up publishes the backlog, and writes it down', async () => {
    const drained = await drain(['--backlog', '300', '--keys', '1,7', '--limit', '15']);
    expect(drained.map(({ name, keys }) => `${name}, ${keys}`)).toEqual([
      'settle, 1',
      'settle, 7',
      'skip locked, 1 loop, 1',
      'skip locked, 1 loop, 7',
      'skip locked, 4 loops, 1',
      'skip locked, 4 loops, 7',
      'skip locked, oldest of each key, 1',
      'skip locked, oldest of each key, 7',
    ]);
    expect(drained.map(({ published, left }) => [published, left])).toEqual(drained.map(() => [300, 0]));
  });

  test('drain: a contender that is stopped says how much it has left', async () => {
    const [stopped] = await drain([
      '--backlog',
      '20000',
      '--keys',
      '1',
      '--limit',
      '0.01',
      '--only',
      '1 loop',
    ]);
    expect(stopped?.left).toBe(20_000 - (stopped?.published ?? NaN));
    expect(stopped?.left).toBeGreaterThan(0);
  });

  test.each(['nats', 'kafka'])('brokers: a relay publishes all to %s', async (only) => {
    const args = ['--messages', '250', '--keys', '1,50', '--rounds', '1', '--only', only];
    const results = await brokers(args);
    expect(results.map(({ keys }) => keys)).toEqual([1, 50, 1, 50]);
    for (const { ratio } of results) expect(ratio).toBeGreaterThan(0);
  });

  test('wake: counts what was sent', async () => {
    const small = ['--rounds', '1', '--messages', '3', '--pause', '1', '--rate', '50', '--seconds', '0.1'];
    const results = await wake([...small, '--only', 'notify,in process', '--writers-ms', '20']);
    expect(results.map(({ name, load, count }) => [name, load, count])).toEqual([
      ['notify', 'alone', 3],
      ['in process', 'alone', 3],
      ['notify', 'steady', 5],
      ['in process', 'steady', 5],
    ]);
  });

  test('writers: all ways of each number of clients are compared', async () => {
    const results = await writers(['--rounds', '1', '--ms', '100', '--clients', '1,2']);
    expect(results.map(({ clients }) => clients)).toEqual([1, 1, 1, 1, 2, 2, 2, 2]);
    for (const { ratio } of results) expect(ratio).toBeGreaterThan(0);
  });
});
