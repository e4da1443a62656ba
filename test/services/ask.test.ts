// How the keeper is asked for services while a run goes on; the services are made up.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Failure } from '../../scripts/lib/failure.mjs';
import { answerQuestions } from '../../scripts/services/ask.mjs';
import { Line } from './ask.ts';

let base: string;
let happened: string[];
let path: string;
let lines: Line[];

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'settle-ask-'));
  happened = [];
  lines = [];
  path = await answerQuestions(base, startMadeUp);
});

afterEach(() => {
  for (const line of lines) line.close();
  rmSync(base, { recursive: true });
});

test('what is shared is started once, for whoever asks', async () => {
  const [one, other] = await Promise.all([open(), open()]);
  const asked = [one, other, one].map((line) => line.ask({ verb: 'share', name: 'nats' }));
  expect(await Promise.all(asked)).toEqual(['made-up:nats', 'made-up:nats', 'made-up:nats']);
  expect(happened).toEqual(['start nats']);
});

test('whoever asks for what cannot be started is told the reason, which is found once', async () => {
  const [one, other] = await Promise.all([open(), open()]);
  await expect(one.ask({ verb: 'share', name: 'missing' })).rejects.toThrow(
    /^missing is needed by the tests$/,
  );
  await expect(other.ask({ verb: 'share', name: 'missing' })).rejects.toThrow(
    /^missing is needed by the tests$/,
  );
  await expect(other.ask({ verb: 'own', name: 'missing' })).rejects.toThrow(
    /^missing is needed by the tests$/,
  );
  expect(happened).toEqual(['start missing', 'start missing-1']);
});

test('what a line has as its own does what it says, in the order it says it', async () => {
  const line = await open();
  expect(await line.ask({ verb: 'own', name: 'nats' })).toBe('made-up:nats-1');
  await Promise.all([line.ask({ verb: 'kill' }), line.ask({ verb: 'restart' })]);
  expect(happened).toEqual(['start nats-1', 'kill nats-1', 'restart nats-1']);
  await expect(line.ask({ verb: 'pause' })).rejects.toThrow(/^there is nothing here to pause$/);
});

test('a line has nothing to say about what all share', async () => {
  const line = await open();
  await line.ask({ verb: 'share', name: 'nats' });
  await expect(line.ask({ verb: 'kill' })).rejects.toThrow(/^there is nothing here to kill$/);
});

test('what a line has as its own ends with it, and leaves no data', async () => {
  const [line, neighbour] = await Promise.all([open(), open()]);
  await line.ask({ verb: 'own', name: 'nats' });
  await neighbour.ask({ verb: 'own', name: 'nats' });
  line.close();
  await vi.waitFor(() => expect(existsSync(join(base, 'nats-1'))).toBe(false));
  expect(existsSync(join(base, 'nats-2'))).toBe(true);
  expect(happened).toEqual(['start nats-1', 'start nats-2', 'stop nats-1']);
});

test('also when the line closes before it has started', async () => {
  const line = await open();
  const { promise, resolve } = Promise.withResolvers<void>();
  untilStarted = promise;
  line.ask({ verb: 'own', name: 'nats' }).catch(() => {});
  await vi.waitFor(() => expect(happened).toEqual(['start nats-1']));
  line.close();
  resolve();
  await vi.waitFor(() => expect(happened).toEqual(['start nats-1', 'stop nats-1']));
});

let untilStarted: Promise<void> | undefined;

async function startMadeUp(name: string, folder: string) {
  const called = basename(folder);
  // What a test leaves is stopped while the next one runs.
  const happening = happened;
  happening.push(`start ${called}`);
  await untilStarted;
  untilStarted = undefined;
  if (name === 'missing') throw new Failure('missing is needed by the tests');
  mkdirSync(folder);
  const note = (verb: string) => () => {
    happening.push(`${verb} ${called}`);
    return Promise.resolve();
  };
  return { url: `made-up:${called}`, stop: note('stop'), kill: note('kill'), restart: note('restart') };
}

async function open(): Promise<Line> {
  const line = await Line.open(path);
  lines.push(line);
  return line;
}
