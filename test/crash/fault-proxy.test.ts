import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FaultProxy } from './fault-proxy.ts';

/** Repeats what it hears, and ends when its peer does. */
let echo: Server;
let proxy: FaultProxy;
const open = new Set<Socket>();

beforeEach(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => undefined).pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  proxy = await FaultProxy.start(`http://127.0.0.1:${(echo.address() as AddressInfo).port}`, 1);
});

afterEach(async () => {
  for (const socket of open) socket.destroy();
  open.clear();
  await proxy.close();
  await new Promise((resolve) => echo.close(resolve));
});

interface Heard {
  readonly text: string;
  readonly chunks: readonly number[];
  readonly end: 'ended' | 'reset' | 'refused' | 'silence';
  readonly ms: number;
}

/** Says it, and listens until the other side is done, or for `ms`. */
async function say(text: string, { ms = 400, end = true } = {}): Promise<Heard> {
  const startedMs = performance.now();
  const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1');
  open.add(socket);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (end) socket.end(text);
  else socket.write(text);
  const over = Promise.race([
    once(socket, 'end').then(() => 'ended' as const),
    once(socket, 'error').then(([error]: unknown[]) =>
      (error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'refused' : 'reset',
    ),
    sleep(ms, 'silence' as const),
  ]);
  const how = await over.catch((error: NodeJS.ErrnoException) =>
    error.code === 'ECONNREFUSED' ? 'refused' : 'reset',
  );
  return {
    text: Buffer.concat(chunks).toString(),
    chunks: chunks.map(({ length }) => length),
    end: how,
    ms: performance.now() - startedMs,
  };
}

const long = 'x'.repeat(100_000);

describe('the fault proxy', () => {
  it('passes everything, in order, while nothing is poisoned', async () => {
    expect(await say('hello')).toMatchObject({ text: 'hello', end: 'ended' });
    expect((await say(long)).text).toBe(long);
  });

  it('latency: is late in both directions, and loses nothing', async () => {
    await proxy.poison({ toxic: { kind: 'latency', ms: 50, jitterMs: 20 } });
    const { text, ms } = await say('hello');
    expect(text).toBe('hello');
    expect(ms).toBeGreaterThan(99);
  });

  it('bandwidth: takes as long as so many bytes take', async () => {
    await proxy.poison({ toxic: { kind: 'bandwidth', bytesPerSecond: 10_000 }, direction: 'response' });
    const { text, ms } = await say('x'.repeat(2_000), { ms: 2_000 });
    expect(text).toHaveLength(2_000);
    expect(ms).toBeGreaterThan(180);
  });

  it('slice: passes so many bytes at a time', async () => {
    await proxy.poison({ toxic: { kind: 'slice', bytes: 3, pauseMs: 5 }, direction: 'response' });
    const { text, chunks } = await say('0123456789');
    expect(text).toBe('0123456789');
    expect(chunks).toEqual([3, 3, 3, 1]);
  });

  it.each([0, 7])('cut: ends orderly after %i bytes', async (afterBytes) => {
    await proxy.poison({ toxic: { kind: 'cut', afterBytes }, direction: 'response' });
    expect(await say('0123456789')).toMatchObject({ text: '0123456789'.slice(0, afterBytes), end: 'ended' });
  });

  it('reset: resets', async () => {
    // Bytes that come together with a reset look like an orderly end to older Nodes.
    await proxy.poison({ toxic: { kind: 'reset', afterBytes: 0 }, direction: 'response' });
    expect(await say('0123456789')).toMatchObject({ text: '', end: 'reset' });
    await proxy.poison({ toxic: { kind: 'reset', afterBytes: 7 }, direction: 'response' });
    expect(await say('0123456789')).toMatchObject({ text: '0123456' });
  });

  it('half-open: accepts new connections, never answers, and leaves those there are alone', async () => {
    const before = connect(Number(new URL(proxy.url).port), '127.0.0.1');
    open.add(before);
    before.write('a');
    await once(before, 'data');
    await proxy.poison({ toxic: { kind: 'half-open' } });
    expect(await say('hello')).toMatchObject({ text: '', end: 'silence' });
    before.write('b');
    expect(String((await once(before, 'data'))[0])).toBe('b');
  });

  it('blackhole: swallows everything without a word, and lets no such connection go on after the heal (F1)', async () => {
    const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1');
    open.add(socket);
    socket.write('a');
    await once(socket, 'data');
    await proxy.poison({ toxic: { kind: 'blackhole' } });
    socket.write('b');
    const heard = await Promise.race([once(socket, 'data'), sleep(150, 'nothing')]);
    expect(heard).toBe('nothing');
    const ended = once(socket, 'error');
    await proxy.heal();
    expect(await ended).toMatchObject([{ code: 'ECONNRESET' }]);
    expect(await say('hello')).toMatchObject({ text: 'hello' });
  });

  it('slow-close: passes everything at once and the end late', async () => {
    await proxy.poison({ toxic: { kind: 'slow-close', ms: 150 }, direction: 'response' });
    const { text, ms, end } = await say('hello');
    expect([text, end]).toEqual(['hello', 'ended']);
    expect(ms).toBeGreaterThan(140);
  });

  it('down: refuses, resets what there is, and is back at the same address after the heal', async () => {
    const { url } = proxy;
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    open.add(socket);
    socket.write('a');
    await once(socket, 'data');
    const ended = once(socket, 'error');
    await proxy.poison({ toxic: { kind: 'down' } });
    expect(await ended).toMatchObject([{ code: 'ECONNRESET' }]);
    expect(await say('hello')).toMatchObject({ end: 'refused' });
    await proxy.heal();
    expect(proxy.url).toBe(url);
    expect(await say('hello')).toMatchObject({ text: 'hello' });
  });

  it('spoils the share of connections that its seed draws, and counts them', async () => {
    await proxy.poison({ toxic: { kind: 'cut', afterBytes: 0 }, share: 0.5 });
    const heard = [];
    for (let n = 0; n < 40; n++) heard.push((await say('x')).text);
    const spoilt = heard.filter((text) => text === '').length;
    expect(spoilt).toBe(proxy.bitten('cut'));
    expect(spoilt).toBeGreaterThan(10);
    expect(spoilt).toBeLessThan(30);
  });
});
