/**
 * A bank behind HTTP: the real barrier over its own database, and every way to misbehave that the fault model knows.
 *
 * - K1 The books change in committed local transactions only; each committed change is recorded as an effect.
 * - K2 How it answers has nothing to do with what it did: a crash, a hang or garbage may come before or after.
 * - K3 A bank that does not announce its barrier may answer a repeat of what it did with a refusal, though only to another
 *      call (not to a copy of the same one) and only where an undo follows: actions with a compensation, tries.
 */
import { isBranchName, isGid } from '../../../lib/src/core/ids.ts';
import { Refused } from '../../../lib/src/define/answers.ts';
import type { HttpReply, HttpRequest } from '../../../lib/src/http/exchange.ts';
import { barrier, type BarrierCall } from '../../../lib/src/participant/barrier.ts';
import type { Answer } from '../../../lib/src/participant/answer.ts';
import { assert } from '../../../lib/src/util/assert.ts';
import { isJsonObject, type Json } from '../../../lib/src/util/json.ts';
import { barrierHeader, barrierStored, readCallHeaders } from '../../../lib/src/wire/headers.ts';
import type { Handled } from '../history.ts';
import { Database, type Account, type Transaction } from './database.ts';
import { Process } from './process.ts';
import { stream, type Rng } from './random.ts';
import type { Recorder } from './recorder.ts';
import type { Schedule } from './schedule.ts';
import type { Misbehaviour, Weather } from './weather.ts';

export interface ParticipantWorld {
  readonly seed: number;
  readonly schedule: Schedule;
  readonly weather: Weather;
  readonly recorder: Recorder;
}

export class Participant {
  readonly name: string;
  readonly origin: string;
  readonly database = new Database();
  readonly announces: boolean;
  /** Gone for good: it answers every call with an error, healed or not. */
  gone = false;
  /** Negative controls: it forgets its barrier rows whenever it restarts. */
  amnesia = false;
  #process: Process;
  #crashes = 0;
  /** Which call made the effect of an operation. */
  readonly #madeBy = new Map<string, number>();
  /** Operations that it said to be under way: it may not deny them afterwards. */
  readonly #promised = new Set<string>();
  readonly #world: ParticipantWorld;
  readonly #mood: Rng;
  readonly #detail: Rng;

  constructor(world: ParticipantWorld, name: string, announces: boolean) {
    this.#world = world;
    this.name = name;
    this.origin = `http://${name}`;
    this.announces = announces;
    this.#process = new Process(world.schedule, name);
    this.#mood = stream(world.seed, `participant/${name}`);
    this.#detail = stream(world.seed, `participant/${name}/detail`);
  }

  open(name: string, opening: number, overdraft: boolean): void {
    this.database.accounts.set(name, { name, opening, overdraft, balance: opening, held: 0 });
  }

  get isUp(): boolean {
    return this.#process.life === 'alive';
  }

  /** A request arrives. `reply` is for the way back; `refuse` when nobody listens; neither when nothing is to come. */
  receive(request: HttpRequest, call: number, reply: (reply: HttpReply) => void, refuse: () => void): void {
    if (!this.isUp) return refuse();
    const process = this.#process;
    const answer = (delayMs: number, what: HttpReply): void => {
      this.#world.schedule.after(delayMs, () => process.tell(() => reply(what)));
    };
    const read = readCallHeaders(request.headers);
    assert(read.kind === 'call', 'the coordinator sends what a participant can read');
    const { gid, branch, op } = read.call;
    assert(isGid(gid) && isBranchName(branch), 'read from the headers');
    const asked: BarrierCall = { gid, branch, op };
    const workMs = 0.3 + this.#detail.next() * 3;
    if (this.gone) return answer(workMs, response(500, 'text/plain', 'gone'));
    this.#world.schedule.after(workMs, () =>
      process.tell(() => {
        const payload: unknown =
          request.body === '' || request.body === undefined ? undefined : JSON.parse(request.body);
        this.#serve(asked, payload, call, request.path, (what) => answer(0, what));
      }),
    );
  }

  /** The local transaction of a message's producer; undefined when it crashed before it committed. */
  produce(call: BarrierCall, payload: unknown): Answer | undefined {
    if (!this.isUp) return undefined;
    return this.#transact(call, payload, -1, 'commit')?.answer;
  }

  crash(downMs: number): void {
    if (!this.isUp) return;
    this.#world.recorder.life('crashed', this.name);
    this.#process.crash();
    const crashes = ++this.#crashes;
    this.#world.schedule.after(downMs, () => {
      if (crashes === this.#crashes && !this.isUp) this.restart();
    });
  }

  restart(): void {
    if (this.isUp) return;
    if (this.amnesia) this.database.rows.clear();
    this.#process = new Process(this.#world.schedule, this.name);
    this.#world.recorder.life('started', this.name);
  }

  // ---- one call

  #serve(
    asked: BarrierCall,
    payload: unknown,
    call: number,
    path: string,
    reply: (what: HttpReply) => void,
  ): void {
    const mood = this.#drawMood(path);
    switch (mood) {
      case 'well':
        return this.#honest(asked, payload, call, reply);
      case 'crash':
        // K2: before or after its local commit.
        this.#transact(asked, payload, call, this.#detail.chance(0.5) ? 'commit' : 'roll back');
        return this.crash(100 + this.#detail.next() * 4_000);
      case 'hang':
        if (this.#detail.chance(0.5)) this.#transact(asked, payload, call, 'commit');
        return;
      case 'error':
        if (this.#detail.chance(0.5)) this.#transact(asked, payload, call, 'commit');
        return reply(response(this.#detail.pick([500, 500, 502, 504]), 'text/html', '<h1>Sorry</h1>'));
      case 'busy':
        return reply(this.#busy());
      case 'garbage':
        if (this.#detail.chance(0.5)) this.#transact(asked, payload, call, 'commit');
        return reply(this.#garbage());
      case 'status':
        return reply(this.#wrongStatus());
      case 'refuse-phase-2':
        return reply(response(409, 'application/json', '{"reason":"I would rather not"}'));
      case 'ongoing':
        this.#promised.add(`${asked.gid}/${asked.branch}/${asked.op}`);
        return reply(response(425, 'text/plain', '', this.#detail.chance(0.5) ? { 'retry-after': '1' } : {}));
      case 'truncated':
        if (this.#detail.chance(0.5)) this.#transact(asked, payload, call, 'commit');
        return reply({
          kind: 'failed',
          failure: this.#detail.pick(['truncated', 'too-large', 'malformed', 'tls', 'dns']),
          sent: true,
          detail: 'cut off',
        });
      case 'forgetful':
        return this.#forgetful(asked, payload, call, reply);
    }
  }

  #drawMood(path: string): Misbehaviour | 'well' {
    const { participant } = this.#world.weather;
    let left = this.#mood.next();
    for (const mood of moods) {
      if (mood === 'refuse-phase-2' && !phase2.some((end) => path.endsWith(end))) continue;
      left -= participant[mood];
      if (left >= 0) continue;
      if (mood === 'forgetful' && this.announces) return 'well';
      this.#world.recorder.sometimes(`fault: participant-${mood}`);
      return mood;
    }
    return 'well';
  }

  #honest(asked: BarrierCall, payload: unknown, call: number, reply: (what: HttpReply) => void): void {
    const done = this.#transact(asked, payload, call, 'commit');
    if (done === undefined) return reply(response(500, 'application/json', '{"code":"barrier_conflict"}'));
    const headers: Record<string, string> = this.announces ? { [barrierHeader]: barrierStored } : {};
    const { answer } = done;
    if (answer.kind === 'refused') {
      return reply(response(409, 'application/json', JSON.stringify({ reason: answer.reason }), headers));
    }
    if (answer.result === undefined) return reply(response(204, undefined, '', headers));
    reply(response(200, 'application/json', JSON.stringify(answer.result), headers));
  }

  /** K3 */
  #forgetful(asked: BarrierCall, payload: unknown, call: number, reply: (what: HttpReply) => void): void {
    const { gid, branch, op } = asked;
    const mayChange =
      op === 'try' || (op === 'action' && isJsonObject(payload) && payload['undoable'] === true);
    const madeBy = this.#madeBy.get(`${gid}/${branch}/${op}`);
    const isPromised = this.#promised.has(`${gid}/${branch}/${op}`);
    if (!mayChange || isPromised || madeBy === undefined || madeBy === call)
      return this.#honest(asked, payload, call, reply);
    this.#world.recorder.sometimes('handled: a repeat was refused');
    reply(response(409, 'application/json', '{"reason":"the business changed its mind"}'));
  }

  #transact(
    asked: BarrierCall,
    payload: unknown,
    call: number,
    end: 'commit' | 'roll back',
  ): { readonly answer: Answer } | undefined {
    const { recorder } = this.#world;
    const { gid, branch, op } = asked;
    const record = (how: Handled['how']): void =>
      recorder.handle({ call, participant: this.name, gid, branch, op, how });
    const { rows } = this.database;
    const undone = rows.get(`${gid}/${branch}/${op === 'cancel' ? 'try' : 'action'}`);
    const isFirst = !rows.has(`${gid}/${branch}/${op}`) && undone?.by !== op;
    const transaction = this.database.begin();
    // An object, since the compiler does not see that the barrier calls back.
    const work = { ran: false };
    let answer: Answer;
    try {
      const given = barrier(transaction, asked, () => {
        work.ran = true;
        return this.#work(transaction, asked, payload);
      });
      assert('kind' in given, 'this database answers at once');
      answer = given;
    } catch {
      transaction.abort();
      record('conflict');
      return undefined;
    }
    if (end === 'roll back') {
      transaction.abort();
      record('rolled-back');
      return { answer };
    }
    for (const { account, delta, held } of transaction.movements) {
      recorder.effect({
        participant: this.name,
        gid,
        branch,
        op,
        account: account.name,
        delta,
        held,
        balanceAfter: account.balance,
        heldAfter: account.held,
      });
    }
    if (work.ran && answer.kind === 'done') this.#madeBy.set(`${gid}/${branch}/${op}`, call);
    const isUndo = op === 'compensate' || op === 'cancel';
    record(isUndo && !work.ran && isFirst ? 'null' : howOf(asked, answer, work.ran));
    return { answer };
  }

  /** The business. A payload names an account and what to add to it. */
  #work(transaction: Transaction, { branch, op }: BarrierCall, payload: unknown): Json | undefined {
    if (!isJsonObject(payload)) throw new Error('no payload');
    const { account: name, amount } = payload;
    const account = typeof name === 'string' ? this.database.accounts.get(name) : undefined;
    if (account === undefined || typeof amount !== 'number') throw new Error('payload of another shape');
    if (payload['closed'] === true && (op === 'action' || op === 'try'))
      throw new Refused('the account is closed');
    switch (op) {
      case 'action':
        mustAfford(account, amount);
        transaction.move(account, amount, 0);
        return { amount, out: -amount, branch };
      case 'compensate':
        transaction.move(account, -amount, 0);
        return undefined;
      case 'try':
        mustAfford(account, amount);
        // What is spent is held at once; what is to come is held without being there.
        transaction.move(account, Math.min(amount, 0), Math.abs(amount));
        return { amount };
      case 'confirm':
        transaction.move(account, Math.max(amount, 0), -Math.abs(amount));
        return undefined;
      case 'cancel':
        transaction.move(account, -Math.min(amount, 0), -Math.abs(amount));
        return undefined;
      case 'check':
        return undefined;
    }
  }

  // ---- the rows of the error classification

  #busy(): HttpReply {
    const wish = this.#detail.pick([
      '1',
      '3',
      '999999999',
      '-5',
      'soon',
      'Thu, 01 Jan 1970 00:00:00 GMT',
      '',
    ]);
    const status = this.#detail.pick([503, 429]);
    this.#world.recorder.sometimes(`classify: ${status} ${wish === '' ? 'without' : 'with'} Retry-After`);
    return response(status, 'text/plain', '', wish === '' ? {} : { 'retry-after': wish });
  }

  #garbage(): HttpReply {
    const kind = this.#detail.pick(['html', 'not JSON', 'deep', 'encoded', 'duplicate member'] as const);
    this.#world.recorder.sometimes(`classify: 2xx with garbage: ${kind}`);
    switch (kind) {
      case 'html':
        return response(200, 'text/html', '<html>Welcome</html>');
      case 'not JSON':
        return response(200, 'application/json', '{"amount": NaN');
      case 'deep':
        return response(201, 'application/json', `${'['.repeat(40)}${']'.repeat(40)}`);
      case 'encoded':
        return response(200, 'application/json', '{}', { 'content-encoding': 'gzip' });
      case 'duplicate member':
        return response(200, 'application/json', '{"amount":1,"amount":2}');
    }
  }

  #wrongStatus(): HttpReply {
    const status = this.#detail.pick([
      400, 401, 403, 404, 405, 408, 410, 413, 422, 301, 302, 307, 308, 199, 600,
    ]);
    const row =
      status === 408 || status < 200 || status > 599 ? String(status) : `${Math.floor(status / 100)}xx`;
    this.#world.recorder.sometimes(`classify: ${row}`);
    return response(status, 'text/plain', 'no', status < 400 ? { location: 'http://elsewhere/' } : {});
  }
}

/** What follows a decision: no business reason may refuse it. */
const phase2 = ['/confirm', '/cancel', '/undo-debit', '/undo-credit', '/deliver'];

const moods: readonly Misbehaviour[] = [
  'crash',
  'hang',
  'error',
  'busy',
  'garbage',
  'status',
  'refuse-phase-2',
  'ongoing',
  'truncated',
  'forgetful',
];

function mustAfford(account: Account, amount: number): void {
  if (amount < 0 && !account.overdraft && account.balance + amount < 0) throw new Refused('no money');
}

function howOf({ op }: BarrierCall, answer: Answer, worked: boolean): Handled['how'] {
  if (worked) return answer.kind === 'refused' ? 'refused' : 'worked';
  if (answer.kind === 'refused' && answer.reason.startsWith('suspended')) return 'suspended';
  if (op === 'check') return answer.kind === 'refused' ? 'refused' : 'repeated';
  return 'repeated';
}

function response(
  status: number,
  contentType: string | undefined,
  body: string,
  more: Readonly<Record<string, string>> = {},
): HttpReply {
  const headers = contentType === undefined ? more : { 'content-type': contentType, ...more };
  return { kind: 'response', status, headers, body };
}
