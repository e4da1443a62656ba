// The example against the RabbitMQ of the tests, as a user would run it: with the built packages, in a folder of its own.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import amqplib from 'amqplib';
import { afterAll, expect, it } from 'vitest';
import { testRabbit } from '../services/rabbit.ts';

const broker = testRabbit();
const folder = mkdtempSync(join(tmpdir(), 'settle-examples-'));

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  const connection = await amqplib.connect(broker.url);
  const channel = await connection.createChannel();
  await channel.deleteQueue('settle-example-stock');
  await channel.deleteExchange('settle-example');
  await connection.close();
});

it('outbox-rabbitmq moves stock once for each order that was committed', async () => {
  const main = fileURLToPath(new URL('../../examples/outbox-rabbitmq/main.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, main], {
    cwd: folder,
    env: { ...process.env, RABBITMQ_URL: broker.url },
  });
  expect(stdout).toBe(
    [
      'o-1: ordered tea',
      'o-2: out of stock',
      'o-3: ordered salt',
      'moved: salt, tea',
      'moved: salt, tea, though o-1 came twice',
      '',
    ].join('\n'),
  );
});
