import type { InputIssue } from '../util/errors.ts';

/**
 * The types of Standard Schema 1 (https://standardschema.dev), which zod, valibot, arktype and others implement.
 * Copied, as the specification invites, so that nothing has to be installed.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

export interface StandardIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** Takes any input of type `T` without looking at it: the types of a schema, none of its safety. */
export function unchecked<T>(): StandardSchema<T, T> {
  return {
    '~standard': { version: 1, vendor: 'settle', validate: (value) => ({ value: value as T }) },
  };
}

/** Where a value is wrong, in our words. */
export function inputIssueOf({ message, path = [] }: StandardIssue): InputIssue {
  const keys = path.map((part) => (typeof part === 'object' ? part.key : part));
  return {
    path: keys.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
    message,
  };
}
