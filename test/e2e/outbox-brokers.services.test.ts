// The examples with brokers, each run as a user would run it, against the built packages and a real broker.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { testKafka } from '../services/kafka.ts';
import { testNats } from '../services/nats.ts';

const kafka = testKafka();
const nats = testNats();

const placedAndEarned = [
  'o-1: placed',
  'o-2: bob is short of money',
  'o-3: placed',
  '[{"user":"ann","points":7}]',
  '',
].join('\n');

test('outbox-kafka counts the points of orders that were committed', async () => {
  const topic = await kafka.createTopic('orders', { partitions: 3 });
  expect(await run('outbox-kafka', { KAFKA_BROKERS: kafka.brokers.join(','), KAFKA_TOPIC: topic })).toBe(
    placedAndEarned,
  );
});

test('outbox-nats counts the points of orders that were committed', async () => {
  expect(await run('outbox-nats', { NATS_URL: nats.url, NATS_STREAM: nats.name('orders') })).toBe(
    placedAndEarned,
  );
});

async function run(example: string, env: Readonly<Record<string, string>>): Promise<string> {
  const cwd = mkdtempSync(join(tmpdir(), 'settle-examples-'));
  const main = fileURLToPath(new URL(`../../examples/${example}/main.ts`, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, main], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err] = [text(child.stdout), text(child.stderr)];
  const [code] = (await once(child, 'exit')) as [number | null];
  rmSync(cwd, { recursive: true });
  expect({ code, err: await err }).toMatchObject({ code: 0 });
  return await out;
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = '';
  for await (const chunk of stream) all += String(chunk);
  return all;
}
