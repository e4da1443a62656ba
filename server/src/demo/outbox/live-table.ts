/** The orders on their way from the shop to the billing. */
import { bar, showPicture, type LiveView, type Pace, type Screen } from '../live-view.ts';
import { roles } from './settings.ts';
import type { OutboxTally } from './tally.ts';

interface Progress {
  readonly tally: OutboxTally;
  /** Orders wanted; undefined: until Ctrl-C. */
  readonly orders: number | undefined;
  readonly phase: () => string;
}

export function showOutbox(screen: Screen, progress: Progress): LiveView {
  const { tally } = progress;
  return showPicture(screen, {
    done: () => tally.effects,
    line: (pace) => line(progress, pace),
    table: (pace) => table(progress, pace),
  });
}

function line({ tally, phase }: Progress, { seconds, perSecond }: Pace): string {
  return [
    `${seconds.toFixed(0)} s`,
    `${tally.told.size} committed`,
    `${tally.rolledBack.size} rolled back`,
    `${tally.effects} invoices`,
    `${perSecond.toFixed(0)}/s`,
    `duplicates absorbed ${tally.duplicates}`,
    `killed ${killsIn(tally)}`,
    phase(),
  ].join(' | ');
}

function table({ tally, orders, phase }: Progress, { seconds, perSecond }: Pace): string {
  const { told, rolledBack, effects, duplicates, lostAnswers, turnedAway, kills } = tally;
  const waiting = Math.max(0, told.size - effects);
  return [
    `shop      ${count(told.size)} orders committed  ${count(rolledBack.size)} rolled back     killed ${kills.writer}`,
    `relay     ${count(waiting)} on their way                            killed ${kills.relay}`,
    `billing   ${count(effects)} invoices          ${count(duplicates)} duplicates       killed ${kills.consumer}`,
    '',
    `faults    answers lost ${lostAnswers}  turned away ${turnedAway}`,
    `${bar(told.size + rolledBack.size, orders)}${seconds.toFixed(0)} s  ${perSecond.toFixed(0)} invoices/s  ${phase()}`,
  ].join('\n');
}

export function killsIn({ kills }: OutboxTally): string {
  return roles.map((role) => `${role} ${kills[role]}`).join(' ');
}

function count(n: number): string {
  return String(n).padStart(7);
}
