/** One demo service as a process: its own database and barrier, reached over HTTP only. Started by the demo. */
import type { DatabaseSync } from 'node:sqlite';
import { connect } from 'settle';
import {
  handler,
  Refused,
  type HandlerRequest,
  type HandlerResponse,
  type ParticipantCall,
} from 'settle/participant';
import { sqliteBarrier } from 'settle/participant/sqlite';
import { databaseFile, openDatabase } from '../databases.ts';
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
const db = openDatabase(databaseFile(settings.dir, service));
const barrier = sqliteBarrier(db);
barrier.migrate();

let faultCounts: Partial<Record<Fault, number>> = {};
let retryCounts: Partial<Record<DemoPattern, number>> = {};

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
    return route === undefined ? Promise.resolve({ status: 404, headers: {}, body: '' }) : route(request);
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
  const effect = (on: DatabaseSync, call: ParticipantCall) => {
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
    return work(on, call.gid, parseOrder(call.payload));
  };
  if (defect === 'skip-barrier') return (call: ParticipantCall) => effect(db, call);
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
  // Whatever is still in the barrier's queue ends before the next question it is asked.
  await barrier.prune({ olderThanMs: Number.MAX_SAFE_INTEGER, limit: 1 });
  tellCounts();
  db.close();
  process.exit(0);
}
