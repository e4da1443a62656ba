import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HandledPrefix } from './handled-prefix.ts';

const all = (): boolean => true;

describe('what is acknowledged of a log', () => {
  it('is nothing before anything was handled', () => {
    const prefix = new HandledPrefix<number, string>();
    prefix.committed(1, 'a');
    prefix.passed(2);
    expect(prefix.acknowledged).toBeUndefined();
  });

  it('is what passed, as long as nothing waits', () => {
    const prefix = new HandledPrefix<number, string>();
    prefix.passed(1);
    prefix.passed(7);
    expect(prefix.acknowledged).toBe(7);
  });

  it('stays before a commit that is not visible, though later ones were looked at', () => {
    const prefix = new HandledPrefix<number, string>();
    prefix.passed(1);
    prefix.committed(2, 'slow');
    prefix.committed(3, 'quick');
    expect(prefix.seen((commit) => commit === 'quick', 1)).toBe(1);
    prefix.looked(1);
    expect(prefix.acknowledged).toBe(1);
    expect(prefix.unseenCommits()).toEqual(['slow']);
    prefix.seen(all, 2);
    prefix.looked(2);
    expect(prefix.acknowledged).toBe(3);
  });

  it('stays before a look that has not ended, though a later one has', () => {
    const prefix = new HandledPrefix<number, string>();
    prefix.committed(1, 'a');
    prefix.seen(all, 1);
    prefix.committed(2, 'b');
    prefix.seen(all, 2);
    prefix.looked(2);
    expect(prefix.acknowledged).toBeUndefined();
    prefix.looked(1);
    expect(prefix.acknowledged).toBe(2);
  });

  it('never comes to a commit that was not visible and looked at, whatever comes in which order', () => {
    const step = record({
      what: constantFrom('committed', 'committed', 'passed', 'seen', 'looked'),
      n: integer({ min: 0, max: 9 }),
    });
    assert(
      property(array(step, { maxLength: 80 }), (steps) => {
        const prefix = new HandledPrefix<number, number>();
        const model: { position: number; look: number | undefined; isHandled: boolean }[] = [];
        let looks = 0;
        let acknowledged = 0;
        steps.forEach(({ what, n }, at) => {
          const position = at + 1;
          if (what === 'committed') {
            prefix.committed(position, position);
            model.push({ position, look: undefined, isHandled: false });
          } else if (what === 'passed') {
            prefix.passed(position);
            model.push({ position, look: undefined, isHandled: true });
          } else if (what === 'seen') {
            const isVisible = (commit: number): boolean => commit % (n + 1) === 0;
            const look = ++looks;
            const seen = model.filter((m) => !m.isHandled && m.look === undefined && isVisible(m.position));
            assertSame(prefix.seen(isVisible, look), seen.length);
            for (const m of seen) m.look = look;
          } else {
            const look = n % (looks + 1);
            prefix.looked(look);
            for (const m of model) if (m.look === look) m.isHandled = true;
          }
          const open = model.findIndex((m) => !m.isHandled);
          const handled = open === -1 ? model : model.slice(0, open);
          acknowledged = handled.at(-1)?.position ?? acknowledged;
          assertSame(prefix.acknowledged ?? 0, acknowledged);
          assertSame(prefix.unseen, model.filter((m) => !m.isHandled && m.look === undefined).length);
        });
      }),
    );
  });
});

function assertSame(actual: number, expected: number): void {
  expect(actual).toBe(expected);
}
