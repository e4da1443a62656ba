/** One case under one peer, in a process of its own: what hangs or dies in it takes nothing else along. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cases, type World } from './cases.ts';
import { storedIn } from './database.ts';
import type { Offer } from './peer.ts';
import { peerCalled } from './peers.ts';
import { hangs, messageOf, notApplicable, type Verdict, wrong } from './verdict.ts';

export interface CellOrder {
  readonly peer: string;
  /** From 1. */
  readonly case: number;
  readonly url: string;
  /** After which the case counts as hanging; default: what the case says. */
  readonly limitMs?: number;
}

/** What the parent gets to hear, once. */
export type CellAnswer = { readonly verdict: Verdict } | { readonly failure: string };

const lacking = {
  required: notApplicable('no scope that joins: handing the client on is a plain call'),
  nested: notApplicable('no nested scope'),
  requiresNew: notApplicable('no transaction beside the current one'),
  afterCommit: notApplicable('no hook after the commit'),
} satisfies Record<Offer, Verdict>;

const uncaught: unknown[] = [];
process.on('unhandledRejection', (error) => uncaught.push(error));
process.on('uncaughtException', (error) => uncaught.push(error));
process.on('disconnect', () => process.exit(1));

await answer(
  await judge(JSON.parse(process.argv[2] ?? '') as CellOrder).then(
    (verdict) => ({ verdict }),
    (error: unknown) => ({ failure: messageOf(error) }),
  ),
);

async function judge({ peer: name, case: number, url, limitMs }: CellOrder): Promise<Verdict> {
  const [asked, peer] = [cases[number - 1], await peerCalled(name)];
  if (asked === undefined) throw new Error(`no case ${number}`);
  if (asked.needs !== undefined && !peer.offers.includes(asked.needs)) return lacking[asked.needs];

  const open = await peer.open({ url, ...asked.pool });
  const world: World = { peer: open, offers: peer.offers, stored: () => storedIn(url), uncaught };
  const limit = limitMs ?? asked.limitMs;
  const tooLate = sleep(limit).then(() => hangs(`no answer after ${limit / 1_000} s`));
  const verdict = await Promise.race([asked.run(world), tooLate]);
  if (uncaught.length === 0 || verdict.kind === 'wrong') return verdict;
  return wrong(`${verdict.detail}; and nobody could catch “${messageOf(uncaught[0])}”, which ends a process`);
}

function answer(message: CellAnswer): Promise<never> {
  return new Promise(() => process.send?.(message, () => process.exit(0)));
}
