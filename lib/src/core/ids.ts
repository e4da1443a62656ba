import type { Brand } from '../util/brand.ts';
import { SettleError } from '../util/errors.ts';

/** Identifies one global transaction: 1 to 128 characters of `A-Z a-z 0-9 _ - : ~`. */
export type Gid = Brand<string, 'Gid'>;

/** Names one branch within its transaction: 1 to 64 characters of `A-Z a-z 0-9 _ -`, starting with a letter or digit. */
export type BranchName = Brand<string, 'BranchName'>;

// No dot in either: the Standard Webhooks signature separates its parts with dots.
const gidShape = /^[A-Za-z0-9_:~-]{1,128}$/;
const branchNameShape = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

export function isGid(text: string): text is Gid {
  return gidShape.test(text);
}

export function isBranchName(text: string): text is BranchName {
  return branchNameShape.test(text);
}

export function parseGid(text: string): Gid {
  if (isGid(text)) return text;
  throw new SettleError('invalid_request', `${JSON.stringify(text.slice(0, 140))} is not a gid`, {
    next: 'Use 1 to 128 characters of A-Z a-z 0-9 _ - : ~',
  });
}

export function parseBranchName(text: string): BranchName {
  if (isBranchName(text)) return text;
  throw new SettleError('invalid_definition', `${JSON.stringify(text.slice(0, 80))} is not a branch name`, {
    next: 'Use 1 to 64 characters of A-Z a-z 0-9 _ -, starting with a letter or digit',
  });
}
