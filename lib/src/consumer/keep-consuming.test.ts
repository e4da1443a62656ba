import { describe, expect, it } from 'vitest';
import { endedWithin, keepConsuming, type Session } from './keep-consuming.ts';

const soon = { min: 1, max: 2 };

/** A session that is over when the test says so, and remembers how it was ended. */
class FakeSession implements Session {
  readonly over: Promise<Error>;
  readonly ends: number[] = [];
  isOver: (why: Error) => void = () => undefined;

  constructor() {
    this.over = new Promise((resolve) => (this.isOver = resolve));
  }

  end(timeoutMs: number): Promise<void> {
    this.ends.push(timeoutMs);
    return Promise.resolve();
  }
}

describe('consuming over connections that end', () => {
  it('begins a new session for each that is over or could not begin, until it is stopped', async () => {
    const [first, second] = [new FakeSession(), new FakeSession()];
    const told: string[] = [];
    const opened = Promise.withResolvers<void>();
    let count = 0;
    const running = keepConsuming(
      () => {
        count++;
        if (count === 1) return Promise.resolve(first);
        if (count < 4) return Promise.reject(new Error(`refused ${count}`));
        opened.resolve();
        return Promise.resolve(second);
      },
      { opensOnce: false, reconnectMs: soon, onDisconnect: ({ message }) => told.push(message) },
    );
    first.isOver(new Error('lost'));
    await opened.promise;
    await running.stop(77);
    await running.ended;
    expect(told).toEqual(['lost', 'refused 2', 'refused 3']);
    expect(first.ends).toEqual([10_000]);
    expect(second.ends).toEqual([77]);
  });

  it('rejects with what ended a connection that cannot be opened again', async () => {
    const session = new FakeSession();
    const running = keepConsuming(() => Promise.resolve(session), { opensOnce: true });
    session.isOver(new Error('lost'));
    await expect(running.ended).rejects.toThrow('lost');
    await running.stop();
    expect(session.ends).toEqual([10_000]);
  });

  it('stops while a session begins, which is then ended at once', async () => {
    const session = new FakeSession();
    const { promise, resolve } = Promise.withResolvers<Session>();
    const running = keepConsuming(() => promise, { opensOnce: false, reconnectMs: soon });
    await running.stop();
    resolve(session);
    await promise;
    await endedWithin(1, Promise.resolve());
    expect(session.ends).toEqual([0]);
  });

  it('stops while it pauses', async () => {
    const paused = Promise.withResolvers<void>();
    const running = keepConsuming(() => Promise.reject(new Error('refused')), {
      opensOnce: false,
      reconnectMs: { min: 3_600_000, max: 3_600_000 },
      onDisconnect: () => paused.resolve(),
    });
    await paused.promise;
    await running.stop();
    await running.ended;
  });
});
