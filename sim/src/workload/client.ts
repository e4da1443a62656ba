/**
 * Clients: each carries out one job, asks again when it hears nothing, and may die at any step.
 *
 * - X1 It asks again only with the same gid and the same definition, save where it conflicts with itself on purpose.
 * - X2 A producer commits its message only after its local transaction did, and aborts it only after that refused.
 */
import type { Gid } from '../../../lib/src/core/ids.ts';
import { producerBranch } from '../../../lib/src/core/message-plan.ts';
import { parseBranchName } from '../../../lib/src/core/ids.ts';
import type { TransactionView } from '../../../lib/src/core/patterns.ts';
import type { Answer } from '../history.ts';
import type { HttpReply } from '../../../lib/src/http/exchange.ts';
import { printCallHeaders } from '../../../lib/src/wire/headers.ts';
import { isFinal } from '../history.ts';
import type { SimCoordinator } from '../world/coordinator.ts';
import type { Participant } from '../world/participant.ts';
import { stream, type Rng } from '../world/random.ts';
import type { Weather } from '../world/weather.ts';
import { ask, type Ask, type LineWorld } from './client-line.ts';
import type { Job } from './plans.ts';

export interface ClientWorld extends LineWorld {
  readonly seed: number;
  readonly weather: Weather;
  readonly coordinators: readonly [SimCoordinator, ...SimCoordinator[]];
  readonly participants: ReadonlyMap<string, Participant>;
  /** Probability that a client submits another definition under its gid too, or the same one twice at once. */
  readonly conflicts: number;
  readonly doubles: number;
}

/** Thrown to end a client in the middle; nobody hears of it. */
class Died extends Error {}

const attemptsMax = 12;

/** Resolves when the client is done, or dead. */
export async function runClient(world: ClientWorld, job: Job): Promise<void> {
  const client = new Client(world, job);
  try {
    await client.run();
  } catch (error) {
    if (!(error instanceof Died)) throw error;
    world.recorder.sometimes('fault: client-death');
  }
}

class Client {
  readonly #world: ClientWorld;
  readonly #job: Job;
  readonly #gid: Gid;
  readonly #random: Rng;
  readonly #fate: Rng;

  constructor(world: ClientWorld, job: Job) {
    this.#world = world;
    this.#job = job;
    this.#gid = job.intent.gid;
    this.#random = stream(world.seed, `client/${job.client}`);
    this.#fate = stream(world.seed, `client/${job.client}/fate`);
  }

  async run(): Promise<void> {
    const { definition } = this.#job.intent;
    const submit: Ask = { kind: 'submit', definition, waitMs: this.#job.waitMs };
    await this.#sleep(this.#job.startMs);
    if (this.#fate.chance(this.#world.conflicts)) void this.#conflict();
    if (this.#fate.chance(this.#world.doubles)) {
      this.#world.recorder.sometimes('fault: client-double');
      void this.#ask(submit);
    }
    const submitted = await this.#insist(submit);
    this.#mayDie();
    if (submitted === undefined) return;
    if (definition.pattern === 'tcc' && definition.decide === 'initiator') await this.#initiate(submitted);
    if (definition.pattern === 'message' && definition.check !== undefined) await this.#produce();
    await this.#follow();
  }

  /** The same gid for something else: refused, whatever comes first. */
  async #conflict(): Promise<void> {
    this.#world.recorder.sometimes('fault: client-conflict');
    const { definition } = this.#job.intent;
    await this.#sleep(this.#random.next() * 200);
    await this.#ask({ kind: 'submit', definition: { ...definition, name: 'another' }, waitMs: 0 });
  }

  // ---- TCC

  async #initiate(begun: TransactionView): Promise<void> {
    let view: TransactionView | undefined = begun;
    for (const branch of this.#job.registered) {
      view = await this.#insist({
        kind: 'register',
        branches: [branch],
        waitMs: this.#random.pick([0, 1_000]),
      });
      this.#mayDie();
      if (view?.status !== 'trying') return;
    }
    for (const name of this.#job.ownTries) {
      const tried = await this.#try(name);
      this.#mayDie();
      if (!tried) return this.#abort('a try of its own failed');
    }
    for (let poll = 0; poll < 20 && view?.status === 'trying' && this.#isTrying(view); poll++) {
      await this.#sleep(200);
      view = await this.#insist({ kind: 'get', waitMs: 0 });
      this.#mayDie();
    }
    if (view?.status !== 'trying') return;
    if (this.#job.ends === 'abort' || this.#isTrying(view)) return this.#abort('changed its mind');
    await this.#insist({ kind: 'commit', waitMs: this.#job.waitMs });
  }

  /** The initiator asks a participant itself; whether it was done shows only in a whole answer. */
  async #try(name: string): Promise<boolean> {
    const { network, schedule, participants, recorder } = this.#world;
    const { plan } = this.#job.intent;
    const spec =
      this.#job.registered.find((branch) => branch.name === name) ??
      (plan.pattern === 'tcc' ? plan.branches.find((branch) => branch.name === name) : undefined);
    const participant = participants.get(spec === undefined ? '' : new URL(spec.confirm.address).origin);
    if (spec === undefined || participant === undefined) return false;
    for (let attempt = 1; attempt <= 3; attempt++) {
      const headers = printCallHeaders({ gid: this.#gid, branch: parseBranchName(name), op: 'try', attempt });
      const body = JSON.stringify(spec.confirm.payload);
      const request = {
        origin: participant.origin,
        path: '/try',
        method: 'POST',
        headers,
        body,
        timeoutMs: 1_000,
        maxResponseBytes: 65_536,
      } as const;
      recorder.sometimes('client: a try of its own');
      const reply = await new Promise<HttpReply | undefined>((resolve) => {
        schedule.after(request.timeoutMs, () => resolve(undefined));
        network.send('client', participant.name, () =>
          participant.receive(
            request,
            -1,
            (reply) => network.send(participant.name, 'client', () => resolve(reply)),
            () => resolve(undefined),
          ),
        );
      });
      if (reply?.kind === 'response' && reply.status === 409) return false;
      // Only a body as the try gives it is an answer.
      if (reply?.kind === 'response' && reply.status === 200 && /^\{"amount":-?\d+\}$/.test(reply.body))
        return true;
      await this.#sleep(100 * attempt);
    }
    return false;
  }

  // ---- message

  async #produce(): Promise<void> {
    const { definition, branches } = this.#job.intent;
    if (definition.pattern !== 'message' || definition.check === undefined) return;
    await this.#sleep(this.#random.next() * (this.#random.chance(0.1) ? 8_000 : 50));
    const bank = this.#world.participants.get(`http://${branches.get(producerBranch)?.participant ?? ''}`);
    const answer = bank?.produce(
      { gid: this.#gid, branch: producerBranch, op: 'action' },
      definition.check.payload,
    );
    this.#mayDie();
    if (answer === undefined || this.#job.ends === 'silence') {
      this.#world.recorder.sometimes('client: a producer that falls silent');
      return;
    }
    if (answer.kind === 'done') await this.#insist({ kind: 'commit', waitMs: this.#job.waitMs });
    else await this.#abort(answer.reason);
  }

  // ---- asking

  async #abort(reason: string): Promise<void> {
    await this.#insist({ kind: 'act', action: { action: 'abort', reason, actor: this.#job.client } });
  }

  async #follow(): Promise<void> {
    for (let poll = 0; poll < this.#job.polls; poll++) {
      await this.#sleep(this.#random.next() * 3_000);
      const answer = await this.#ask({ kind: 'get', waitMs: this.#random.pick([0, 1_000, 10_000]) });
      if (answer.kind === 'view' && isFinal(answer.view.status)) return;
    }
  }

  /** Asks until there is an answer that asking again would not change; undefined when there is none. */
  async #insist(what: Ask): Promise<TransactionView | undefined> {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const answer = await this.#ask(what);
      this.#mayDie();
      if (answer.kind === 'view') return answer.view;
      if (answer.kind === 'error' && !isPassing(answer.code)) return undefined;
      await this.#sleep(this.#random.next() * 300 * attempt);
    }
    return undefined;
  }

  #ask(what: Ask): Promise<Answer> {
    const { coordinators } = this.#world;
    return ask(this.#world, this.#job.client, this.#random.pick(coordinators), this.#gid, what);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#world.schedule.after(ms, resolve));
  }

  /** A try that the coordinator calls is not answered yet. */
  #isTrying({ branches }: TransactionView): boolean {
    return branches.some(
      ({ branch, op, status }) =>
        op === 'try' && (status === 'waiting' || status === 'called') && !this.#job.ownTries.includes(branch),
    );
  }

  #mayDie(): void {
    const { clientDeath } = this.#world.weather;
    if (clientDeath > 0 && this.#fate.chance(clientDeath)) throw new Died();
  }
}

/** Asking again may help. */
export function isPassing(code: string): boolean {
  return code === 'unavailable' || code === 'overloaded' || code === 'shutting_down' || code === 'lease_lost';
}
