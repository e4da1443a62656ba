import { describe, expect, it } from 'vitest';
import { engineWorld, gid, tccBranch } from '../testing/engine-world.ts';
import { done, type ScriptedCaller } from '../testing/scripted-caller.ts';

const trying = { pattern: 'tcc', name: 'test-tcc' } as const;

describe('register', () => {
  it.each(['repeatable', 'not repeatable'] as const)(
    'answers as soon as its try is answered, %s',
    async (kind) => {
      const { engine, clock, participants } = await engineWorld();
      later(participants, kind);
      const begun = await clock.until(engine.submit({ gid: gid('a'), definition: trying }));
      expect(begun.status).toBe('trying');
      const before = clock.monotonicMs();
      const view = await clock.until(engine.register(gid('a'), [tccBranch('x')], { waitMs: 30_000 }));
      expect(view.branches).toMatchObject([{ branch: 'x', status: 'done' }]);
      expect(clock.monotonicMs() - before).toBeLessThan(1_000);

      /** The answer comes when the registration has long been waited for. */
      function later(to: ScriptedCaller, repeat: typeof kind): void {
        to.on('x/try', () => new Promise((resolve) => clock.schedule(100, () => resolve(done(1, repeat)))));
      }
    },
  );
});
