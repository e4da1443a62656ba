/** One demo service as a process: its own database and barrier, reached over HTTP only. Started by the demo. */
import { randomUUID } from 'node:crypto';
import { connect } from 'settle';
import { parseBranchName } from 'settle/core';
import {
  handler,
  Refused,
  type HandlerRequest,
  type HandlerResponse,
  type ParticipantCall,
} from 'settle/participant';
import { openDatabase, type SqlQuery } from '../databases/service-database.ts';
import { refuses, type Fault } from '../faults.ts';
import { business, mayRefuse, type Work, type WorkOp } from './business.ts';
import { faultyServer } from './faulty-server.ts';
import { parseOrder } from './order-payload.ts';
import { invoicing } from './producer.ts';
import { settingsVariable, type ServiceMessage, type ServiceSettings } from './settings.ts';
import type { DemoPattern } from '../order-stream.ts';

// Written by the demo itself, in the same release.
const settings = JSON.parse(process.env[settingsVariable] ?? '{}') as ServiceSettings;
const { service, seed, defect } = settings;
const database = await openDatabase(settings.database);
await database.migrate();
const { barrier } = database;

let faultCounts: Partial<Record<Fault, number>> = {};
let retryCounts: Partial<Record<DemoPattern, number>> = {};

/** Also those whose answer nobody waits for any more. */
const underWay = new Set<Promise<HandlerResponse>>();

type Answer = (request: HandlerRequest) => Promise<HandlerResponse>;

const routes = new Map<string, Answer>();
for (const [path, work] of Object.entries(business[service])) {
  const ops: Readonly<Record<string, ReturnType<typeof guarded>>> = Object.fromEntries(
    Object.entries(work).map(([op, each]) => [op, guarded(path, op, each)]),
  );
  routes.set(path, counted(path, handler(ops, { onError: complain })));
}

const coordinator = connect(settings.coordinatorUrl, { patience: { forMs: 2_000 } });
const ownUrl = (): string => `http://127.0.0.1:${port}`;
if (service === 'orders') {
  routes.set('/message/check', handler({ check: (call) => barrier.check(call) }, { onError: complain }));
  routes.set('/invoice', invoicing({ barrier, coordinator, ownUrl }));
}

const server = faultyServer({
  ...settings,
  answer: (request) => {
    const route = routes.get(request.path);
    if (route === undefined) return Promise.resolve({ status: 404, headers: {}, body: '' });
    const answered = route(request);
    underWay.add(answered);
    return answered.finally(() => underWay.delete(answered));
  },
  onFault: count,
});
const port = await server.listen(settings.port);
tell({ kind: 'ready', port });
const counting = setInterval(tellCounts, 100);

process.on('SIGTERM', () => void stop());
// The demo itself is gone: nobody would stop us.
process.on('disconnect', () => process.exit(1));

/** The business, in the barrier's transaction; what the seed refuses is refused there, so that the refusal is kept. */
function guarded(path: string, op: string, work: Work) {
  const effect = (query: SqlQuery, call: ParticipantCall) => {
    const question = {
      seed,
      service,
      gid: call.gid,
      branch: call.branch,
      op: call.op,
      attempt: call.attempt,
    };
    if (settings.faults && mayRefuse(path) && refuses(question)) {
      count('refuse');
      throw new Refused(`${service} does not want this one`);
    }
    return work(query, call.gid, parseOrder(call.payload));
  };
  if (defect === 'skip-barrier') {
    // In a transaction all the same, under a name that no other call has.
    return (call: ParticipantCall) =>
      barrier.run({ ...call, op: 'action', branch: parseBranchName(randomUUID()) }, (query) =>
        effect(query, call),
      );
  }
  if (defect === 'drop-undo' && isUndo(op))
    return (call: ParticipantCall) => barrier.run(call, () => undefined);
  return (call: ParticipantCall) => barrier.run(call, effect);
}

function isUndo(op: string): boolean {
  return op === ('compensate' satisfies WorkOp) || op === ('cancel' satisfies WorkOp);
}

function counted(path: string, answer: Answer): Answer {
  const pattern: DemoPattern = path.startsWith('/saga')
    ? 'saga'
    : path.startsWith('/tcc')
      ? 'tcc'
      : 'message';
  return (request) => {
    if (Number(request.headers['settle-attempt']) > 1) retryCounts[pattern] = (retryCounts[pattern] ?? 0) + 1;
    return answer(request);
  };
}

function count(fault: Fault): void {
  faultCounts[fault] = (faultCounts[fault] ?? 0) + 1;
}

function tellCounts(): void {
  if (Object.keys(faultCounts).length === 0 && Object.keys(retryCounts).length === 0) return;
  tell({ kind: 'counts', faults: faultCounts, retries: retryCounts });
  faultCounts = {};
  retryCounts = {};
}

function tell(message: ServiceMessage): void {
  if (process.connected) process.send?.(message);
}

/** The coordinator asks again; what matters here is that somebody can see why. */
function complain(error: unknown): void {
  console.error(error);
}

async function stop(): Promise<void> {
  clearInterval(counting);
  await server.close();
  await coordinator.close();
  await Promise.allSettled(underWay);
  tellCounts();
  await database.close();
  process.exit(0);
}
