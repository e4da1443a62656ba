/** Operators: they look at some transaction and act on it, legally or not, sometimes twice. */
import type { ActionRequest } from '../../../lib/src/core/coordinator.ts';
import type { Gid } from '../../../lib/src/core/ids.ts';
import { actions, whyIllegal } from '../../../lib/src/core/legal.ts';
import type { TransactionView } from '../../../lib/src/core/patterns.ts';
import { stream } from '../world/random.ts';
import { ask } from './client-line.ts';
import { isPassing, type ClientWorld } from './client.ts';

const actor = 'operator';

/** Looks at a transaction, and does one of the things that can be done to it. */
export async function operate(world: ClientWorld, gid: Gid, nth: number): Promise<void> {
  const random = stream(world.seed, `operator/${nth}`);
  const coordinator = random.pick(world.coordinators);
  const seen = await ask(world, actor, coordinator, gid, { kind: 'get', waitMs: 0 });
  if (seen.kind !== 'view') return;
  const { view } = seen;
  const legal = actions.filter((action) => whyIllegal(action, view.status, view.stuck) === undefined);
  const action = random.chance(0.15) ? random.pick(actions) : legal[random.int(0, legal.length - 1)];
  if (action === undefined) return;
  const request: ActionRequest = { action, reason: 'by hand', actor, ...whatElse(action, view) };
  const act = (): Promise<unknown> =>
    ask(world, actor, random.pick(world.coordinators), gid, { kind: 'act', action: request });
  const first = act();
  if (random.chance(0.3)) {
    world.recorder.sometimes('operator: a double click');
    await act();
  }
  const answer = await first;
  if (typeof answer === 'object' && answer !== null && 'kind' in answer && answer.kind === 'view')
    world.recorder.sometimes(`operator: ${action}`);
}

/** After the heal: what waits for a person is started again, until the coordinators have taken it in. */
export async function unstick(world: ClientWorld, gid: Gid): Promise<void> {
  const random = stream(world.seed, `operator/heal/${gid}`);
  const request: ActionRequest = { action: 'retry-now', reason: 'all is well again', actor };
  for (let attempt = 1; attempt <= 10; attempt++) {
    const answer = await ask(world, actor, random.pick(world.coordinators), gid, {
      kind: 'act',
      action: request,
    });
    if (answer.kind === 'view' || (answer.kind === 'error' && !isPassing(answer.code))) return;
    await new Promise<void>((resolve) => void world.schedule.after(300, resolve));
  }
}

function whatElse(action: ActionRequest['action'], view: TransactionView): Partial<ActionRequest> {
  if (action === 'forget') return { unresolved: view.branches.map(({ branch }) => branch) };
  if (action !== 'skip-branch') return {};
  const stuck = view.branches.find(({ status, attempts }) => status === 'parked' || attempts >= 10);
  return stuck === undefined ? {} : { branch: stuck.branch };
}
