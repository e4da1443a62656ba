/**
 * Named places at which a process can be made to die as kill -9 would have it, so that tests meet every moment between
 * two durable steps on purpose instead of by luck (`test/crash/matrix.ts` goes through all of them).
 *
 * Armed by `SETTLE_CRASH_AT=<name>:<before|after>:<nth>` alone, once per thread. Packing removes every call, and with it
 * this file's only use, from what is published (`scripts/lib/test-code.mjs`): a call is a statement of its own.
 */
export const crashPoints = [
  // What a client asks for, and is told.
  'api.submit',
  'api.register',
  'api.commit',
  'api.abort',
  'api.get',
  'api.print',
  // Transactions come into memory and leave it.
  'engine.begin',
  'engine.decide',
  'engine.adopt',
  'engine.claim',
  'engine.take-over',
  'engine.prune',
  'engine.drain',
  'engine.hand-over',
  // One transaction goes on.
  'runner.insert',
  'runner.decide',
  'runner.save',
  'runner.give-back',
  'runner.stands',
  'runner.call',
  'runner.answer',
  'runner.retry',
  'runner.wake',
  'runner.recover',
  'group-commit.commit',
  'group-commit.settle',
  'lease.join',
  'lease.renew',
  'lease.leave',
  // The store's thread: statements, in the transaction they belong to.
  'sqlite.begin',
  'sqlite.commit',
  'sqlite.insert',
  'sqlite.update',
  'sqlite.touch',
  'sqlite.reply',
  'sqlite.take',
  'sqlite.sweep',
  'sqlite.join',
  'sqlite.renew',
  'sqlite.leave',
  'sqlite.prune',
  'sqlite.lock',
  'sqlite.create',
  'sqlite.migrate',
  'sqlite.rename',
  'sqlite.configure',
  'sqlite.verify',
  'sqlite.forget-leases',
  'sqlite.checkpoint',
  'sqlite.close',
] as const;

export type CrashPoint = (typeof crashPoints)[number];
export type CrashMoment = 'before' | 'after';

/** Dies here if this is the place and moment the process is armed for. Does nothing otherwise. */
export function crashPoint(point: CrashPoint, moment: CrashMoment): void {
  if (armed !== undefined) pass(armed, point, moment);
}

interface Armed {
  readonly point: string;
  readonly moment: string;
  /** How many more times it is passed before the process dies there. */
  left: number;
}

const armed = readArmed();

function pass(armed: Armed, point: CrashPoint, moment: CrashMoment): void {
  if (armed.point !== point || armed.moment !== moment || --armed.left > 0) return;
  process.kill(process.pid, 'SIGKILL');
  // The signal comes at any moment now; nothing more may happen until then.
  for (;;);
}

function readArmed(): Armed | undefined {
  const setting = typeof process === 'undefined' ? undefined : process.env['SETTLE_CRASH_AT'];
  if (setting === undefined || setting === '') return undefined;
  const [point = '', moment = '', nth = '1'] = setting.split(':');
  const isKnown = crashPoints.some((known) => known === point) && (moment === 'before' || moment === 'after');
  if (!isKnown || !(Number(nth) >= 1)) throw new Error(`SETTLE_CRASH_AT=${setting} is no crash point`);
  return { point, moment, left: Number(nth) };
}
