/**
 * Schemas that check JSON and describe it, from one source: what validates a request is what OpenAPI prints.
 *
 * - V1 A check copies nothing and allocates nothing while all is well: the value that went in is the value, now typed.
 * - V2 Members that were not declared are refused.
 * - V3 Every fault is told with a JSON Pointer (RFC 6901), up to {@link issuesMax}. A check reports paths relative to
 *      its own value; whoever holds that value puts its key in front.
 */
import type { InputIssue } from '../util/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../util/json.ts';

declare const inferred: unique symbol;

export interface Schema<out T> {
  /** Adds an issue for every fault; none when the value is a `T`. */
  readonly check: (value: unknown, issues: InputIssue[]) => void;
  /** The JSON Schema (2020-12); `define` stores a named schema and returns the reference to it. */
  readonly print: (define: Define) => JsonObject;
  readonly [inferred]?: T;
}

export interface ObjectSchema<out T> extends Schema<T> {
  readonly members: ReadonlyMap<string, Member>;
}

/** The type of the values a schema accepts. */
export type Infer<S> = S extends Schema<infer T> ? T : never;

export type Define = (name: string, schema: Schema<unknown>) => JsonObject;

export type Parsed<T> =
  | { readonly kind: 'valid'; readonly value: T }
  | { readonly kind: 'invalid'; readonly issues: readonly InputIssue[] };

/** More faults than these are not told. */
export const issuesMax = 20;

/** Checks a value. Never throws; the result holds the same value, not a copy. */
export function parse<T>(schema: Schema<T>, value: unknown): Parsed<T> {
  const issues: InputIssue[] = [];
  schema.check(value, issues);
  if (issues.length > 0) return { kind: 'invalid', issues: issues.slice(0, issuesMax) };
  // The one place where a checked value gets its type.
  return { kind: 'valid', value: value as T };
}

/** A self-contained JSON Schema (2020-12); named schemas stand under `$defs`. */
export function toJsonSchema(schema: Schema<unknown>): JsonObject {
  const defs: Record<string, JsonObject> = {};
  const define = definitions(defs, '#/$defs/');
  const printed = schema.print(define);
  const dialect = { $schema: 'https://json-schema.org/draft/2020-12/schema', ...printed };
  return Object.keys(defs).length === 0 ? dialect : { ...dialect, $defs: defs };
}

/** Collects named schemas into `into`, referring to them below `prefix`. */
export function definitions(into: Record<string, JsonObject>, prefix: string): Define {
  const define: Define = (name, schema) => {
    if (into[name] === undefined) {
      into[name] = {};
      into[name] = schema.print(define);
    }
    return { $ref: `${prefix}${name}` };
  };
  return define;
}

// ---- objects

export interface Member {
  readonly schema: Schema<unknown>;
  readonly required: boolean;
}

/** A member that may be absent. */
export interface OptionalMember<out T> {
  readonly optional: Schema<T>;
}

type Shape = Readonly<Record<string, Schema<unknown> | OptionalMember<unknown>>>;
type OptionalKeys<S extends Shape> = {
  [K in keyof S]: S[K] extends OptionalMember<unknown> ? K : never;
}[keyof S];
type ObjectOf<S extends Shape> = Flat<
  { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Infer<S[K]> } & {
    readonly [K in OptionalKeys<S>]?: S[K] extends OptionalMember<infer T> ? T : never;
  }
>;
type Flat<T> = { [K in keyof T]: T[K] };

export function optional<T>(schema: Schema<T>): OptionalMember<T> {
  return { optional: schema };
}

/** An object with exactly these members (V2). */
export function object<const S extends Shape>(shape: S): ObjectSchema<ObjectOf<S>> {
  const members = new Map<string, Member>();
  for (const [name, member] of Object.entries(shape)) {
    members.set(
      name,
      'optional' in member
        ? { schema: member.optional, required: false }
        : { schema: member, required: true },
    );
  }
  const checks = [...members].map(([name, { schema, required }]) => ({
    name,
    pointer: pointerTo(name),
    check: schema.check,
    required,
  }));
  return {
    members,
    check(value, issues) {
      if (!isJsonObject(value)) {
        issues.push(expected('an object', value));
        return;
      }
      let found = 0;
      for (const { name, pointer, check, required } of checks) {
        const member = value[name];
        if (member === undefined) {
          if (required) issues.push({ path: pointer, message: 'is missing' });
          continue;
        }
        found++;
        checkAt(check, member, pointer, issues);
      }
      const keys = Object.keys(value);
      if (keys.length !== found) refuseStrangers(keys, members, issues);
    },
    print(define) {
      const properties: Record<string, JsonObject> = {};
      const required: string[] = [];
      for (const [name, member] of members) {
        properties[name] = member.schema.print(define);
        if (member.required) required.push(name);
      }
      const strict = { type: 'object', properties, additionalProperties: false };
      return required.length === 0 ? strict : { ...strict, required };
    },
  };
}

function refuseStrangers(
  keys: readonly string[],
  members: ReadonlyMap<string, Member>,
  issues: InputIssue[],
): void {
  for (const key of keys) {
    if (issues.length >= issuesMax) return;
    if (!members.has(key)) issues.push({ path: pointerTo(clip(key)), message: 'is not a known member' });
  }
}

/** An object whose members are named by its author. */
export function record<T>(
  item: Schema<T>,
  limits: { readonly keyMax: number; readonly max: number },
): Schema<Readonly<Record<string, T>>> {
  const { keyMax, max } = limits;
  return {
    check(value, issues) {
      if (!isJsonObject(value)) {
        issues.push(expected('an object', value));
        return;
      }
      const keys = Object.keys(value);
      if (keys.length > max) {
        issues.push({ path: '', message: `has ${keys.length} members; at most ${max}` });
        return;
      }
      for (const key of keys) {
        if (issues.length >= issuesMax) return;
        if (key.length > keyMax)
          issues.push({ path: pointerTo(clip(key)), message: `has a name of over ${keyMax} characters` });
        else checkAt(item.check, value[key], pointerTo(key), issues);
      }
    },
    print: (define) => ({
      type: 'object',
      additionalProperties: item.print(define),
      propertyNames: { maxLength: keyMax },
      maxProperties: max,
    }),
  };
}

/** One of several objects, told apart by the text of one member. */
export function union<const V extends Readonly<Record<string, ObjectSchema<unknown>>>>(
  key: string,
  variants: V,
): Schema<Infer<V[keyof V]>> {
  const byTag = new Map<unknown, Schema<unknown>>(Object.entries(variants));
  const tags = Object.keys(variants);
  const tagIssue: InputIssue = { path: pointerTo(key), message: `must be one of ${tags.join(', ')}` };
  return {
    check(value, issues) {
      if (!isJsonObject(value)) {
        issues.push(expected('an object', value));
        return;
      }
      const variant = byTag.get(value[key]);
      if (variant === undefined) issues.push(tagIssue);
      else variant.check(value, issues);
    },
    print: (define) => ({ oneOf: [...new Set(byTag.values())].map((variant) => variant.print(define)) }),
  };
}

/** A list. A fault in one item does not hide those of the others. */
export function array<T>(
  item: Schema<T>,
  limits: { readonly min?: number; readonly max: number },
): Schema<readonly T[]> {
  const { min = 0, max } = limits;
  return {
    check(value, issues) {
      if (!Array.isArray(value)) {
        issues.push(expected('an array', value));
        return;
      }
      if (value.length < min || value.length > max) {
        issues.push({ path: '', message: `has ${value.length} items; from ${min} to ${max} are allowed` });
        return;
      }
      for (let at = 0; at < value.length; at++) {
        if (issues.length >= issuesMax) return;
        const before = issues.length;
        item.check(value[at], issues);
        if (issues.length !== before) prefix(issues, before, `/${at}`);
      }
    },
    print: (define) => ({
      type: 'array',
      items: item.print(define),
      maxItems: max,
      ...(min > 0 ? { minItems: min } : {}),
    }),
  };
}

// ---- plain values

export interface StringLimits {
  readonly min?: number;
  readonly max: number;
  /** What it must match as a whole, and how to say so. */
  readonly shape?: { readonly pattern: RegExp; readonly says: string };
  readonly format?: string;
  /** Why this text is not acceptable; undefined when it is. */
  readonly whyNot?: (text: string) => string | undefined;
}

/** A text of `min` (default 0) to `max` UTF-16 units. */
export function string(limits: StringLimits): Schema<string> {
  const { min = 0, max, shape, format, whyNot } = limits;
  return {
    check(value, issues) {
      if (typeof value !== 'string') {
        issues.push(expected('a string', value));
        return;
      }
      if (value.length < min || value.length > max) {
        issues.push({
          path: '',
          message: `has ${value.length} characters; from ${min} to ${max} are allowed`,
        });
      } else if (shape !== undefined && !shape.pattern.test(value)) {
        issues.push({ path: '', message: `must be ${shape.says}` });
      } else {
        const fault = whyNot?.(value);
        if (fault !== undefined) issues.push({ path: '', message: fault });
      }
    },
    print: () => ({
      type: 'string',
      maxLength: max,
      ...(min > 0 ? { minLength: min } : {}),
      ...(shape === undefined ? {} : { pattern: shape.pattern.source }),
      ...(format === undefined ? {} : { format }),
    }),
  };
}

export interface NumberLimits {
  readonly min: number;
  readonly max: number;
}

/** A whole number from `min` to `max`. */
export function integer({ min, max }: NumberLimits): Schema<number> {
  return numeric('integer', Number.isInteger, min, max);
}

/** A finite number from `min` to `max`. */
export function number({ min, max }: NumberLimits): Schema<number> {
  return numeric('number', Number.isFinite, min, max);
}

function numeric(
  type: 'integer' | 'number',
  holds: (value: number) => boolean,
  min: number,
  max: number,
): Schema<number> {
  return {
    check(value, issues) {
      if (typeof value !== 'number' || !holds(value)) {
        issues.push(expected(type === 'integer' ? 'an integer' : 'a number', value));
      } else if (value < min || value > max) {
        issues.push({ path: '', message: `must be from ${min} to ${max}` });
      }
    },
    print: () => ({ type, minimum: min, maximum: max }),
  };
}

/** `true` or `false`. */
export const boolean: Schema<boolean> = {
  check(value, issues) {
    if (typeof value !== 'boolean') issues.push(expected('true or false', value));
  },
  print: () => ({ type: 'boolean' }),
};

/** This value alone. */
export function literal<const T extends string | number | boolean>(only: T): Schema<T> {
  const issue: InputIssue = { path: '', message: `must be ${JSON.stringify(only)}` };
  return {
    check(value, issues) {
      if (value !== only) issues.push(issue);
    },
    print: () => ({ const: only }),
  };
}

/** One of a closed list of texts. */
export function oneOf<const T extends string>(values: readonly T[]): Schema<T> {
  const known = new Set<unknown>(values);
  const issue: InputIssue = { path: '', message: `must be one of ${values.join(', ')}` };
  return {
    check(value, issues) {
      if (!known.has(value)) issues.push(issue);
    },
    print: () => ({ type: 'string', enum: [...values] }),
  };
}

/** Any JSON. Only for what {@link parseJson} returned: the value itself is not looked at again. */
export const json: Schema<Json> = {
  check(value, issues) {
    if (value === undefined) issues.push({ path: '', message: 'is missing' });
  },
  print: () => ({}),
};

// ---- words

/** The same schema, stored once under this name wherever it is printed. */
export function named<S extends Schema<unknown>>(name: string, schema: S): S {
  return { ...schema, print: (define: Define) => define(name, schema) };
}

/** The same schema with words for the reader; `more` are further JSON Schema annotations, such as `default`. */
export function describe<S extends Schema<unknown>>(
  schema: S,
  description: string,
  more: JsonObject = {},
): S {
  return { ...schema, print: (define: Define) => ({ ...schema.print(define), description, ...more }) };
}

/** One step of a JSON Pointer (RFC 6901). */
export function pointerTo(key: string): string {
  return `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

function checkAt(
  check: Schema<unknown>['check'],
  value: unknown,
  pointer: string,
  issues: InputIssue[],
): void {
  const before = issues.length;
  check(value, issues);
  if (issues.length !== before) prefix(issues, before, pointer);
}

function prefix(issues: InputIssue[], from: number, pointer: string): void {
  for (let at = from; at < issues.length; at++) {
    const issue = issues[at];
    if (issue !== undefined) issues[at] = { path: pointer + issue.path, message: issue.message };
  }
}

function expected(what: string, value: unknown): InputIssue {
  return { path: '', message: `must be ${what}, not ${kindOf(value)}` };
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'object':
      return 'an object';
    case 'string':
      return 'a string';
    case 'boolean':
      return `${value}`;
    case 'number':
      return `${value}`;
    default:
      return 'nothing';
  }
}

/** A name from the input, short enough to be said back. */
function clip(key: string): string {
  return key.length <= 64 ? key : `${key.slice(0, 64)}...`;
}
