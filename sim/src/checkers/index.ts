import type { Checker } from './checker.ts';

/** Every invariant that is checked, in the order of the failure model. */
export const checkers: readonly Checker[] = [];
