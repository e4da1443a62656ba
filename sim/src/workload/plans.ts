/**
 * What is asked for: transfers over all patterns, in every shape that the patterns have. Money leaves customers, who may
 * have none, and reaches merchants, who may owe; over each transaction it sums up to nothing.
 */
import { isGid, type Gid } from '../../../lib/src/core/ids.ts';
import { planOf, type Definition, type Pattern } from '../../../lib/src/core/patterns.ts';
import { producerBranch } from '../../../lib/src/core/message-plan.ts';
import type { SagaStepDefinition } from '../../../lib/src/core/saga-plan.ts';
import type { TccBranchDefinition } from '../../../lib/src/core/tcc-plan.ts';
import { assert } from '../../../lib/src/util/assert.ts';
import type { JsonObject } from '../../../lib/src/util/json.ts';
import type { BranchIntent, Intent } from '../history.ts';
import type { Participant } from '../world/participant.ts';
import type { Rng } from '../world/random.ts';

/** An intent, and what its client has to know to carry it out. */
export interface Job {
  readonly intent: Intent;
  readonly client: string;
  readonly startMs: number;
  /** TCC by its initiator: branches it registers after the begin. */
  readonly registered: readonly TccBranchDefinition[];
  /** Branches whose try the initiator calls itself. */
  readonly ownTries: readonly string[];
  /** The initiator changes its mind, or never comes to the end. */
  readonly ends: 'commit' | 'abort' | 'silence';
  readonly waitMs: number;
  readonly polls: number;
}

export interface Market {
  readonly participants: readonly [Participant, ...Participant[]];
  /** Longest time that a transaction may wait for by its own definition. */
  readonly deadlineMaxMs: number;
}

export const customersPerParticipant = 4;
export const merchantsPerParticipant = 2;

export function openAccounts(participant: Participant, rng: Rng): void {
  for (let i = 0; i < customersPerParticipant; i++)
    participant.open(`c${i}`, rng.chance(0.15) ? 20 : 2_000, false);
  for (let i = 0; i < merchantsPerParticipant; i++) participant.open(`m${i}`, 0, true);
}

export function drawJob(rng: Rng, market: Market, index: number, startMs: number): Job {
  const gid = `t${index}`;
  assert(isGid(gid), 'a letter and a number');
  const pattern = rng.pick<Pattern>(['saga', 'saga', 'tcc', 'message']);
  const sketch = new Sketch(rng, market);
  const common = {
    gid,
    client: `client-${index}`,
    startMs,
    waitMs: rng.pick([0, 0, 500, 5_000]),
    polls: rng.int(0, 4),
  };
  switch (pattern) {
    case 'saga':
      return { ...common, ...saga(sketch, gid), registered: [], ownTries: [], ends: 'commit' };
    case 'tcc':
      return { ...common, ...tcc(sketch, gid) };
    case 'message':
      return { ...common, ...message(sketch, gid), registered: [], ownTries: [] };
  }
}

/** Collects the branches of one transaction, whose money sums up to nothing. */
class Sketch {
  readonly rng: Rng;
  readonly market: Market;
  readonly branches = new Map<string, BranchIntent>();
  refusedBy: string | undefined;
  hopeless = false;

  constructor(rng: Rng, market: Market) {
    this.rng = rng;
    this.market = market;
  }

  add(name: string, delta: number, compensable: boolean, from: 'customer' | 'merchant'): Branch {
    const participant = this.rng.pick(this.market.participants);
    const account =
      from === 'customer'
        ? `c${this.rng.int(0, customersPerParticipant - 1)}`
        : `m${this.rng.int(0, merchantsPerParticipant - 1)}`;
    const { announces, origin } = participant;
    if (participant.gone) this.hopeless = true;
    this.branches.set(name, { participant: participant.name, account, delta, announces, compensable });
    return { name, origin, participant, payload: { account, amount: delta, undoable: compensable } };
  }

  close(branch: Branch): Branch {
    this.refusedBy = branch.name;
    return { ...branch, payload: { ...branch.payload, closed: true } };
  }

  intent(gid: Gid, definition: Definition): { readonly intent: Intent } {
    const { branches, refusedBy, hopeless } = this;
    const amount = [...branches.values()].reduce((sum, { delta }) => sum + delta, 0);
    const { pattern } = definition;
    return {
      intent: { gid, pattern, definition, plan: planOf(definition), amount, branches, refusedBy, hopeless },
    };
  }

  /** Amounts that sum up to the total. */
  split(total: number, parts: number): readonly number[] {
    const share = Math.floor(total / parts);
    return Array.from({ length: parts }, (_, i) => (i === 0 ? total - share * (parts - 1) : share));
  }
}

interface Branch {
  readonly name: string;
  readonly origin: string;
  readonly participant: Participant;
  readonly payload: JsonObject;
}

function saga(sketch: Sketch, gid: Gid): { readonly intent: Intent } {
  const { rng, market } = sketch;
  const total = rng.int(1, 40);
  const isParallel = rng.chance(0.3);
  const hasPivot = rng.chance(0.25);
  const retries = [
    {},
    {},
    { retry: { kind: 'exponential', baseMs: 50, factor: 2, maxMs: 2_000, attemptsMax: 3 } },
    { retry: { kind: 'exponential', baseMs: 100, factor: 3, maxMs: 10_000 } },
  ] as const;
  const steps: SagaStepDefinition[] = [];
  const before: string[] = [];

  if (rng.chance(0.3)) {
    const notice = sketch.add('notice', 0, false, 'merchant');
    steps.push({ name: 'notice', action: callOf(notice, 'notice'), after: [] });
    before.push('notice');
  }
  const debits = sketch.split(total, rng.int(1, 2)).map((amount, i) => {
    const debit = sketch.add(`debit${i}`, -amount, true, 'customer');
    return rng.chance(0.06) ? sketch.close(debit) : debit;
  });
  for (const debit of debits) {
    const parks = rng.chance(0.2);
    steps.push({
      name: debit.name,
      action: callOf(debit, 'debit'),
      // Without a payload of its own it gets the one of the action.
      compensation: { address: `${debit.origin}/undo-debit` },
      ...(isParallel ? { after: [] } : {}),
      ...rng.pick(retries),
      ...(parks ? { onExhausted: 'park' } : {}),
    });
    before.push(debit.name);
  }
  if (hasPivot) {
    const pivot = sketch.add('seal', 0, false, 'merchant');
    steps.push({
      name: 'seal',
      action: callOf(pivot, 'seal'),
      pivot: true,
      after: [...before],
      ...rng.pick(retries),
    });
  }
  const credits = sketch
    .split(total, rng.int(1, 2))
    .map((amount, i) => sketch.add(`credit${i}`, amount, !hasPivot, 'merchant'));
  const injects = debits.length === 1 && credits.length === 1 && (!isParallel || hasPivot) && rng.chance(0.5);
  for (const credit of credits) {
    const action = injects
      ? { ...callOf(credit, 'credit'), inject: { amount: { from: 'debit0', path: ['out'] } } }
      : callOf(credit, 'credit');
    steps.push({
      name: credit.name,
      action,
      ...(hasPivot
        ? isParallel && { after: ['seal'] }
        : {
            compensation: { address: `${credit.origin}/undo-credit` },
            ...(isParallel ? { after: injects ? ['debit0'] : [] } : {}),
            ...rng.pick(retries),
          }),
    });
  }
  if (rng.chance(0.2)) {
    const last = sketch.add('receipt', 0, false, 'merchant');
    const after = steps.map(({ name }) => name);
    steps.push({ name: 'receipt', action: callOf(last, 'notice'), after });
  }
  const definition: Definition = {
    pattern: 'saga',
    name: 'transfer',
    steps,
    ...(rng.chance(0.4) ? { timeoutMs: rng.int(300, market.deadlineMaxMs) } : {}),
    ...(rng.chance(0.3) ? { callTimeoutMs: rng.int(200, 3_000) } : {}),
  };
  return sketch.intent(gid, definition);
}

function tcc(sketch: Sketch, gid: Gid): Pick<Job, 'intent' | 'registered' | 'ownTries' | 'ends'> {
  const { rng, market } = sketch;
  const total = rng.int(1, 40);
  const isOurs = rng.chance(0.6);
  const branches = [
    ...sketch.split(total, rng.int(1, 2)).map((amount, i) => {
      const debit = sketch.add(`debit${i}`, -amount, true, 'customer');
      return rng.chance(0.08) ? sketch.close(debit) : debit;
    }),
    ...sketch
      .split(total, rng.int(1, 2))
      .map((amount, i) => sketch.add(`credit${i}`, amount, true, 'merchant')),
  ];
  const ownTries: string[] = [];
  const specs = branches.map((branch): TccBranchDefinition => {
    const { name, origin, payload } = branch;
    const confirm = { address: `${origin}/confirm` };
    const cancel = { address: `${origin}/cancel` };
    if (isOurs && rng.chance(0.2)) {
      ownTries.push(name);
      return { name, confirm: { ...confirm, payload }, cancel: { ...cancel, payload } };
    }
    return { name, try: callOf(branch, 'try'), confirm, cancel };
  });
  const late = isOurs ? specs.filter(() => rng.chance(0.6)) : [];
  const definition: Definition = {
    pattern: 'tcc',
    name: 'reservation',
    decide: isOurs ? 'initiator' : 'when-all-tried',
    timeoutMs: rng.int(500, market.deadlineMaxMs),
    branches: specs.filter((spec) => !late.includes(spec)),
  };
  const ends = isOurs ? rng.pick(['commit', 'commit', 'commit', 'commit', 'abort'] as const) : 'commit';
  return { ...sketch.intent(gid, definition), registered: late, ownTries, ends };
}

function message(sketch: Sketch, gid: Gid): Pick<Job, 'intent' | 'ends'> {
  const { rng } = sketch;
  const total = rng.int(1, 40);
  const targets = rng.int(1, 3);
  const hasProducer = rng.chance(0.8);
  const credits = sketch
    .split(total, targets)
    .map((amount, i) => sketch.add(`credit${i}`, amount, false, 'merchant'));
  // What nobody produced is taken from a merchant, who never refuses.
  const all = hasProducer ? credits : [...credits, sketch.add('debit', -total, false, 'merchant')];
  let producer = hasProducer ? sketch.add(producerBranch, -total, false, 'customer') : undefined;
  if (producer !== undefined && rng.chance(0.08)) producer = sketch.close(producer);
  const definition: Definition = {
    pattern: 'message',
    name: 'notification',
    targets: all.map((branch) => ({ name: branch.name, deliver: callOf(branch, 'deliver') })),
    order: rng.pick(['parallel', 'sequence']),
    ...(rng.chance(0.3) ? { delayMs: rng.int(1, 6_000) } : {}),
    ...(producer === undefined
      ? {}
      : {
          check: { address: `${producer.origin}/check`, payload: producer.payload },
          checkAfterMs: rng.int(200, 6_000),
        }),
  };
  const ends = hasProducer
    ? rng.pick(['commit', 'commit', 'commit', 'commit', 'silence'] as const)
    : 'commit';
  return { ...sketch.intent(gid, definition), ends };
}

function callOf(branch: Branch, path: string): { readonly address: string; readonly payload: JsonObject } {
  return { address: `${branch.origin}/${path}`, payload: branch.payload };
}
