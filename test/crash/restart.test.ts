import { expect, it } from 'vitest';
import { restartWith } from './restart.ts';

// covers A33
it('makes the first recovered call within 2 s of the restart, and settles 2,000 in flight within 30 s', async () => {
  const { firstCallMs, settledMs, byStatus, stepsDone } = await restartWith(2_000);
  console.log(
    `restart with 2,000 in flight: first call after ${Math.round(firstCallMs)} ms, settled after ${Math.round(settledMs)} ms`,
  );
  expect(byStatus).toEqual({ committed: 2_000 });
  expect(stepsDone).toBe(4_000);
  expect(firstCallMs).toBeLessThan(2_000);
  expect(settledMs).toBeLessThan(30_000);
});
