/** How clients and operators reach coordinators: a request over the network, and an answer, an error, or nothing. */
import type { ActionRequest } from '../../../lib/src/core/coordinator.ts';
import type { Gid } from '../../../lib/src/core/ids.ts';
import type { Definition, TransactionView } from '../../../lib/src/core/patterns.ts';
import type { TccBranchDefinition } from '../../../lib/src/core/tcc-plan.ts';
import { isSettleError, messageOf } from '../../../lib/src/util/errors.ts';
import type { Engine } from '../../../lib/src/engine/engine.ts';
import type { Answer, Request } from '../history.ts';
import type { SimCoordinator } from '../world/coordinator.ts';
import type { Network } from '../world/network.ts';
import type { Recorder } from '../world/recorder.ts';
import type { Schedule } from '../world/schedule.ts';

export type Ask =
  | { readonly kind: 'submit'; readonly definition: Definition; readonly waitMs: number }
  | { readonly kind: 'register'; readonly branches: readonly TccBranchDefinition[]; readonly waitMs: number }
  | { readonly kind: 'commit'; readonly waitMs: number }
  | { readonly kind: 'get'; readonly waitMs: number }
  | { readonly kind: 'act'; readonly action: ActionRequest };

export interface LineWorld {
  readonly schedule: Schedule;
  readonly network: Network;
  readonly recorder: Recorder;
}

/** How long a client waits for an answer, beyond what it asked the coordinator to wait. */
const patienceMs = 6_000;

/** Resolves with what became of it, as far as the asker ever learns. */
export function ask(
  world: LineWorld,
  by: string,
  coordinator: SimCoordinator,
  gid: Gid,
  what: Ask,
): Promise<Answer> {
  const { schedule, network, recorder } = world;
  const fingerprint = what.kind === 'submit' ? JSON.stringify(what.definition) : undefined;
  const operation = recorder.operation({
    by,
    coordinator: coordinator.name,
    gid,
    request: requestOf(what),
    fingerprint,
  });
  return new Promise((resolve) => {
    let settled = false;
    const settle = (result: Outcome | undefined): void => {
      if (settled) return;
      settled = true;
      cancel();
      const stamp = recorder.stamp('answer', `${operation.id} ${result?.kind ?? 'none'}`);
      operation.answer = result === undefined ? { kind: 'none' } : { ...result, ...stamp };
      recorder.sometimes(
        `answer: ${result === undefined ? 'none' : result.kind === 'error' ? result.code : 'view'}`,
      );
      if (what.kind === 'commit' && result?.kind === 'error' && result.code === 'illegal_action')
        recorder.sometimes('race: a commit came after the decision against it');
      resolve(operation.answer);
    };
    const waitMs = 'waitMs' in what ? what.waitMs : 0;
    const cancel = schedule.after(waitMs + patienceMs, () => settle(undefined));
    const place = by.split('-')[0] === 'client' ? 'client' : by;
    network.send(place, coordinator.name, () => {
      const incarnation = coordinator.current;
      if (incarnation === undefined || incarnation.process.life === 'dead') {
        schedule.after(1, () => settle(undefined));
        return;
      }
      const { process, engine } = incarnation;
      const answer = (result: Outcome): void =>
        process.tell(() => network.send(coordinator.name, place, () => settle(result)));
      process.tell(() => {
        void carryOut(engine, gid, what).then(
          (view) => answer({ kind: 'view', view }),
          (error: unknown) => {
            if (!isSettleError(error)) throw error;
            answer({ kind: 'error', code: error.code, message: messageOf(error) });
          },
        );
      });
    });
  });
}

type Outcome =
  | { readonly kind: 'view'; readonly view: TransactionView }
  | {
      readonly kind: 'error';
      readonly code: import('../../../lib/src/util/errors.ts').ErrorCode;
      readonly message: string;
    };

function carryOut(engine: Engine, gid: Gid, what: Ask): Promise<TransactionView> {
  switch (what.kind) {
    case 'submit':
      return engine.submit({ gid, definition: what.definition, waitMs: what.waitMs });
    case 'register':
      return engine.register(gid, what.branches, { waitMs: what.waitMs });
    case 'commit':
      return engine.commit(gid, { waitMs: what.waitMs });
    case 'get':
      return engine.get(gid, { waitMs: what.waitMs });
    case 'act':
      return engine.act(gid, what.action);
  }
}

function requestOf(what: Ask): Request {
  switch (what.kind) {
    case 'register':
      return { kind: 'register', branches: what.branches.map(({ name }) => name) };
    case 'act': {
      const { action, branch, unresolved } = what.action;
      return {
        kind: 'act',
        action,
        ...(branch === undefined ? {} : { branch }),
        ...(unresolved === undefined ? {} : { unresolved }),
      };
    }
    default:
      return { kind: what.kind };
  }
}
