import { SettleError } from '../util/errors.ts';
import { isJsonObject } from '../util/json.ts';
import { inputReference, type CallSpec } from './call-spec.ts';
import { parseBranchName } from './ids.ts';
import type { RetryPolicy } from './retry-policy.ts';

/** What the plans of all patterns share. */
export interface PlanCommon {
  /** What people call this kind of transaction, for example `place-order`: 1 to 128 characters. */
  readonly name: string;
  /** Milliseconds one call may take from its first byte to the last byte of its answer. Default: the coordinator's. */
  readonly callTimeoutMs?: number;
}

/** A transaction has at most this many branches. */
export const branchesMax = 100;

/** What all definitions are checked for. */
export function checkCommon({ name, callTimeoutMs }: PlanCommon): void {
  checkName(name);
  checkNumber('callTimeoutMs', callTimeoutMs, 1);
}

export function checkName(name: string): void {
  if (name.length === 0 || name.length > 128) {
    throw new SettleError('invalid_definition', 'the name of a transaction has 1 to 128 characters', {
      next: `Shorten ${JSON.stringify(name.slice(0, 40))}`,
    });
  }
}

/** A century: what is added to the time of day stays an exact number. */
const numberMax = 100 * 366 * 24 * 60 * 60 * 1_000;

/** A deadline that is NaN would be written as null and read as long past, so numbers are checked. */
export function checkNumber(where: string, value: number | undefined, min: number): void {
  if (value === undefined || (value >= min && value <= numberMax)) return;
  throw new SettleError('invalid_definition', `${where} is ${value}`, {
    next: `Make it a number from ${min} to ${numberMax}, or leave it out`,
  });
}

export function checkRetry(where: string, retry: RetryPolicy | undefined): void {
  if (retry === undefined) return;
  checkNumber(`the baseMs of ${where}`, retry.baseMs, 0);
  checkNumber(`the factor of ${where}`, retry.factor, 1);
  checkNumber(`the maxMs of ${where}`, retry.maxMs, 0);
  checkNumber(`the attemptsMax of ${where}`, retry.attemptsMax, 1);
}

export function checkUniqueNames(names: readonly string[], what: string): void {
  if (names.length > branchesMax) {
    throw new SettleError(
      'limit_exceeded',
      `${names.length} branches; a transaction has at most ${branchesMax}`,
      {
        next: 'Split it into several transactions',
      },
    );
  }
  const seen = new Set<string>([inputReference]);
  for (const name of names) {
    parseBranchName(name);
    if (seen.has(name)) {
      throw new SettleError(
        'invalid_definition',
        `two branches are called ${name}, or the name is reserved`,
        {
          next: `Give every ${what} a name of its own, other than "${inputReference}"`,
        },
      );
    }
    seen.add(name);
  }
}

/** References may only lead to branches whose result is known when the call is made. */
export function checkCallSpec(
  where: string,
  spec: CallSpec,
  isKnown: (branch: string) => boolean = () => false,
): void {
  if (spec.address.length === 0) {
    throw new SettleError('invalid_definition', `${where} has no address`, {
      next: 'Give it a URL or a function',
    });
  }
  if (spec.inject === undefined) return;
  if (spec.payload !== undefined && !isJsonObject(spec.payload)) {
    throw new SettleError('invalid_definition', `${where} injects into a payload that is not an object`, {
      next: 'Make the payload an object, or leave `inject` out',
    });
  }
  for (const [member, reference] of Object.entries(spec.inject)) {
    if (reference.from === inputReference || isKnown(reference.from)) continue;
    throw new SettleError(
      'invalid_definition',
      `${where} takes "${member}" from ${reference.from}, whose result is not known by then`,
      { next: `Name a branch that ${where} comes after` },
    );
  }
}
