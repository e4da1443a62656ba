import { describe, expect, test } from 'vitest';
import { Recovery } from './nats-recovery.ts';

describe('after a consumer died', () => {
  test('new messages wait until those come again that were under way', () => {
    const recovery = new Recovery(12, 2);
    recovery.hold({ seq: 13 });
    recovery.hold({ seq: 12 });
    expect(recovery.isOver).toBe(false);
    recovery.hold({ seq: 9 });
    expect(recovery.isOver).toBe(true);
    expect(recovery.take()).toEqual([{ seq: 9 }, { seq: 12 }, { seq: 13 }]);
  });

  test('a message that comes twice is counted once', () => {
    const recovery = new Recovery(12, 2);
    recovery.hold({ seq: 12 });
    recovery.hold({ seq: 12 });
    expect(recovery.isOver).toBe(false);
    expect(recovery.take()).toEqual([{ seq: 12 }]);
  });

  test('nothing waits when nothing was under way', () => {
    expect(new Recovery(12, 0).isOver).toBe(true);
  });
});
