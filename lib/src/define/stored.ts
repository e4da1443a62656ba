import { SettleError, isSettleError, messageOf } from '../util/errors.ts';
import type { Json } from '../util/json.ts';

/**
 * What is left of a value of type `T` once it went through the store: inputs and results travel as JSON, so a `Date`
 * comes back as text and nothing at all comes back as `null`.
 */
export type Stored<T> = T extends null | boolean | number | string
  ? T
  : T extends undefined | void
    ? null
    : T extends { toJSON(): infer Plain }
      ? Stored<Plain>
      : T extends bigint | symbol | ((...args: never[]) => unknown)
        ? never
        : T extends readonly unknown[]
          ? { [I in keyof T]: Stored<T[I]> }
          : T extends object
            ? StoredObject<T>
            : Json;

/** A member that may be undefined may be missing afterwards. */
type StoredObject<T extends object> = {
  [K in keyof T as K extends string ? (undefined extends T[K] ? never : K) : never]: Stored<T[K]>;
} & {
  [K in keyof T as K extends string ? (undefined extends T[K] ? K : never) : never]?: Stored<
    Exclude<T[K], undefined>
  >;
};

/**
 * A copy of a value as the store gives it back. It is made even where nothing leaves the process, so that a function
 * that changes what it was given behaves the same before and after a restart.
 */
export function toStored(value: unknown, what: string): Json {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  try {
    const text = JSON.stringify(value) as string | undefined;
    return text === undefined ? null : (JSON.parse(text) as Json);
  } catch (error) {
    if (isSettleError(error)) throw error;
    throw new SettleError('invalid_request', `${what} cannot be written as JSON: ${messageOf(error)}`, {
      next: 'Hand over plain data: no bigint, no reference to itself',
      cause: error,
    });
  }
}
