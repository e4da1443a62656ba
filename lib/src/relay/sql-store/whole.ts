import { SettleError } from '../../util/errors.ts';

/** Numbers that stand in the text of a statement: nothing but a whole one from 0 on comes through. */
export function whole(what: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new SettleError('config_invalid', `${what} is ${value}`, { next: 'Give a whole number from 0 on' });
}

/** The same for times, which are rounded up. */
export function wholeMs(what: string, value: number): number {
  return whole(what, Math.ceil(value));
}
