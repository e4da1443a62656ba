// Calls of one branch at the same time, against the model: whatever they come to, some order of them would have.
import * as fc from 'fast-check';
import { expect } from 'vitest';
import { parseBranchName, parseGid } from '../../lib/src/core/ids.ts';
import type { Op } from '../../lib/src/core/outcome.ts';
import { isRefused, Refused } from '../../lib/src/define/answers.ts';
import type { BarrierCall } from '../../lib/src/participant/barrier.ts';
import { isSettleError } from '../../lib/src/util/errors.ts';
import { type CameTo, firstOf, isSomeOrder, type ModelCall, type Undoing } from './model.ts';

/** One branch's place in the world of the barrier under test. */
export interface CallsAtOnce {
  begin(call: BarrierCall): Promise<unknown>;
  /** Has the barrier run work that writes the operation, and then ends as it is told to. */
  run(call: BarrierCall, work: ModelCall['work']): Promise<unknown>;
  /** The operations that this branch has written, in order. */
  effects(branch: string): Promise<readonly Op[]>;
}

/** Work that refuses or fails ends so. */
export function endAsTold(work: ModelCall['work']): void {
  if (work === 'refuses') throw new Refused('no');
  if (work === 'fails') throw new Error('broken');
}

const branchesAtOnce = 8;

/** Many branches side by side, each with a few calls at once, in a barrier that is empty. */
export async function comeOutInSomeOrder(
  undo: Undoing,
  world: CallsAtOnce,
  { numRuns, begins = true }: { readonly numRuns: number; readonly begins?: boolean },
): Promise<void> {
  let branches = 0;
  const sets = fc.array(callsOf(undo, begins), { minLength: branchesAtOnce, maxLength: branchesAtOnce });
  await fc.assert(
    fc.asyncProperty(sets, async (branchCalls) => {
      await Promise.all(
        branchCalls.map(async (asked) => {
          const branch = `b${++branches}`;
          const calls = await Promise.all(
            asked.map(async (call) => ({ call, cameTo: await cameToOf(world, branch, call) })),
          );
          const observed = { calls, effects: await world.effects(branch) };
          if (!isSomeOrder(undo, observed)) throw new Error(`no order gives ${JSON.stringify(observed)}`);
        }),
      );
    }),
    { numRuns },
  );
}

function callsOf(undo: Undoing, begins: boolean): fc.Arbitrary<ModelCall[]> {
  const ops: Op[] = undo === 'cancel' ? ['try', 'confirm', 'cancel'] : ['action', 'compensate'];
  const one = fc.record({
    op: fc.constantFrom(...ops),
    begin: fc.boolean(),
    work: fc.constantFrom('does', 'does', 'refuses', 'fails'),
  });
  return fc.array(
    one.map((call): ModelCall => ({ ...call, begin: call.begin && begins && call.op === firstOf(undo) })),
    { minLength: 2, maxLength: 5 },
  );
}

async function cameToOf(world: CallsAtOnce, branch: string, { op, begin, work }: ModelCall): Promise<CameTo> {
  const call = (): BarrierCall => ({ gid: parseGid('g'), branch: parseBranchName(branch), op });
  try {
    if (begin) await world.begin(call());
    await world.run(call(), work);
    return 'done';
  } catch (error) {
    // What follows a decision may not be refused; there it is an error.
    if (isRefused(error)) return op === 'action' || op === 'try' ? 'refused' : 'error';
    // Anything else is no outcome of the protocol: least of all a deadlock.
    expect(isSettleError(error) ? error.code : String(error)).toMatch(/^(?:barrier_conflict|Error: broken)$/);
    return 'error';
  }
}
