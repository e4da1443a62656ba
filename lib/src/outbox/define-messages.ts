/** The messages of an application: their types, shapes, keys and destinations, said once for senders and consumers. */
import { unchecked, type StandardSchema } from '../define/standard-schema.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import { columnLengths } from './schema/limits.ts';

/** A publisher's name and what it takes for an address: `kafka:orders`, `webhook:https://example.com/hook`. */
export type Destination = `${string}:${string}`;

/** One type of message, as `defineMessages` is told of it. */
export interface MessageOptions<Schema = unknown> {
  /** Checks payloads as they are sent; what it makes of them is stored. Any Standard Schema. Default: any JSON value. */
  readonly schema?: Schema & StandardSchema;
  /** Where messages of the type go, unless a send says otherwise. */
  readonly destination: Destination;
  /** Messages with one key stay in order. Is given what the schema made of the payload. Default: no key. */
  readonly key?: (payload: OutputOf<Schema>) => string | undefined;
  /** Of the payload's shape: a whole number from 1 on. Consumers are told. Default: 1. */
  readonly version?: number;
}

type InputOf<Schema> = Schema extends StandardSchema<infer Input, unknown> ? Input : Json;
type OutputOf<Schema> = Schema extends StandardSchema<unknown, infer Output> ? Output : Json;

/** One type of message. `Input` is what is sent, `Output` what its schema makes of it. */
export interface MessageType<Input = unknown, Output = Input> {
  readonly name: string;
  readonly schema: StandardSchema<Input, Output> | undefined;
  readonly version: number;
  readonly target: string;
  readonly address: string;
  key(payload: Output): string | undefined;
  /** Only for the compiler: what the types are. */
  readonly '~types'?: { readonly input: Input; readonly output: Output } | undefined;
}

/** By their names. */
export type Messages = Readonly<Record<string, MessageType>>;

/** What a payload of the type may be when it is sent. */
export type PayloadOf<M extends Messages, Type extends keyof M> = NonNullable<M[Type]['~types']>['input'];

/** What its schema makes of it; consumers get that after a trip through JSON. */
export type CheckedPayloadOf<M extends Messages, Type extends keyof M> = NonNullable<
  M[Type]['~types']
>['output'];

/** Types of messages by name, of schemas by name. */
export type DefinedMessages<Schemas> = {
  readonly [Name in keyof Schemas]: MessageType<InputOf<Schemas[Name]>, OutputOf<Schemas[Name]>>;
};

/**
 * Defines the messages that an outbox sends and consumers handle. A type that has unpublished messages is neither renamed nor
 * removed: a relay keeps what it does not know.
 *
 * Throws `invalid_definition` for a name, version or destination that no message can have.
 *
 * ```ts
 * const messages = defineMessages({
 *   'order.placed': { schema: OrderSchema, key: (order) => order.id, destination: 'kafka:orders', version: 2 },
 *   'order.cancelled': message<{ id: string }>({ key: ({ id }) => id, destination: 'kafka:orders' }),
 * });
 * ```
 */
export function defineMessages<Schemas extends Readonly<Record<string, unknown>>>(types: {
  readonly [Name in keyof Schemas]: MessageOptions<Schemas[Name]>;
}): DefinedMessages<Schemas> {
  // Without a prototype, so that no name is there that nobody defined.
  const defined = Object.create(null) as Record<string, MessageType>;
  for (const [name, type] of Object.entries(types)) defined[name] = typeOf(name, type as AnyOptions);
  return Object.freeze(defined) as DefinedMessages<Schemas>;
}

/** A type of message whose payloads the compiler alone checks. */
export function message<Payload>(
  options: Omit<MessageOptions<StandardSchema<Payload>>, 'schema'>,
): MessageOptions<StandardSchema<Payload>> {
  return { ...options, schema: unchecked<Payload>() };
}

interface AnyOptions extends Omit<MessageOptions, 'key'> {
  readonly key?: (payload: unknown) => string | undefined;
}

function typeOf(name: string, { schema, destination, key, version = 1 }: AnyOptions): MessageType {
  if (name.length > columnLengths.type || !nameShape.test(name)) {
    throw invalid(name, `its name is not 1 to ${columnLengths.type} characters of ASCII without spaces`);
  }
  if (!Number.isInteger(version) || version < 1 || version > versionMax) {
    throw invalid(name, `version is ${version}, not a whole number from 1 to ${versionMax}`);
  }
  const place = placeOf(destination);
  if (place === undefined) throw invalid(name, `${JSON.stringify(destination)} is no destination`);
  return Object.freeze({ name, schema, version, ...place, key: key ?? noKey });
}

const noKey = (): undefined => undefined;

/** What a column holds. */
const versionMax = 2_147_483_647;
const nameShape = /^[\x21-\x7e]+$/;

/** `kafka` and `orders` of `kafka:orders`; undefined for what is no destination. */
export function placeOf(
  destination: string,
): { readonly target: string; readonly address: string } | undefined {
  const [, target, address] = /^([\w.-]+):([^\p{Cc}\p{Cs}]+)$/u.exec(destination) ?? [];
  if (target === undefined || address === undefined) return undefined;
  if (target.length > columnLengths.target || address.length > columnLengths.address) return undefined;
  return { target, address };
}

function invalid(name: string, what: string): SettleError {
  return new SettleError('invalid_definition', `the message ${JSON.stringify(name.slice(0, 140))}: ${what}`, {
    next: "Define it like this: 'order.placed': { destination: 'kafka:orders', version: 1 }",
  });
}
