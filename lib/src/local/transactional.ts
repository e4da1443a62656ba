import { SettleError } from '../util/errors.ts';
import { checkOptions, type ScopeOptions } from './options.ts';
import type { Transactions } from './transactions.ts';

/** The transactions themselves, or where an instance of the class has them: then each call asks anew. */
export type TransactionsSource<Client, Self> = Transactions<Client> | ((self: Self) => Transactions<Client>);

/** What `@Transactional` is: with options, or as it is. */
export type Transactional<Self = unknown> = TransactionalDecorator<Self> &
  ((options?: ScopeOptions) => TransactionalDecorator<Self>);

/** For methods, also static and private ones, that return a promise; of instances that the transactions can be had of. */
export interface TransactionalDecorator<Self = unknown> {
  /** A method, by the decorators of ECMAScript. */
  <This extends Self, Method extends AsyncMethod<This>>(
    method: Method,
    context: MemberContext<'method', This, Method>,
  ): Method;
  /** A field that holds a function, by the decorators of ECMAScript. */
  <This extends Self, Method extends AsyncMethod<This>>(
    nothing: undefined,
    context: MemberContext<'field', This, Method>,
  ): (initial: Method) => Method;
  /** A method, by the decorators that the compiler calls experimental. */
  <Method extends AsyncMethod<never>>(
    target: Self,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method>,
  ): TypedPropertyDescriptor<Method>;
}

type AsyncMethod<This> = (this: This, ...args: never[]) => Promise<unknown>;

/** The part of `ClassMethodDecoratorContext` and `ClassFieldDecoratorContext` that the types are taken from. */
interface MemberContext<Kind, This, Method> {
  readonly kind: Kind;
  readonly access: { get(object: This): Method };
}

/**
 * Makes the decorator of a data source: `const Transactional = transactional(tx)`, and then `@Transactional` or
 * `@Transactional({ propagation: 'requiresNew' })` on a method makes every call of it a `run`. Where the transactions are
 * not known yet, it takes a function, which is asked at each call: `transactional(() => tx)`, or
 * `transactional((self: { tx: Transactions<Client> }) => self.tx)`.
 *
 * Works with the decorators of ECMAScript and with `experimentalDecorators`. The label is `Class.method`; name, length and
 * reflected metadata of the method stay. A method that returns no promise is refused by the compiler, since decorated it
 * returns one.
 *
 * Throws `config_invalid` for what is no method, and for options that nobody could mean; each call throws what
 * `Transactions.run` does.
 */
export function transactional<Client, Self = unknown>(
  source: TransactionsSource<Client, Self>,
): Transactional<Self> {
  const decorator = (...args: readonly unknown[]): unknown => {
    if (!areOptions(args)) return decorated(source, {}, args);
    const [options = {}] = args;
    return (...target: readonly unknown[]): unknown => decorated(source, options, target);
  };
  // One function for every overload: what it is called with says which one is meant.
  return decorator as Transactional<Self>;
}

type AnyMethod = (this: unknown, ...args: unknown[]) => unknown;

function decorated<Client, Self>(
  source: TransactionsSource<Client, Self>,
  options: ScopeOptions,
  [target, key, descriptor]: readonly unknown[],
): unknown {
  checkOptions(options);
  const wrap = (name: string, method: AnyMethod): AnyMethod => inTransaction(source, options, name, method);
  if (isContext(key)) {
    const name = String(key.name);
    if (key.kind === 'method' && isMethod(target)) return wrap(name, target);
    if (key.kind === 'field') {
      return (initial: unknown) => {
        if (isMethod(initial)) return wrap(name, initial);
        throw notDecorable(`the field ${name} holds no function`);
      };
    }
    throw notDecorable(`${name} is a ${key.kind}`);
  }
  if (typeof key !== 'string' && typeof key !== 'symbol') throw notDecorable('it is a class');
  const name = String(key);
  if (!isDescriptor(descriptor)) throw notDecorable(`${name} is a field or a parameter`);
  if (!isMethod(descriptor.value)) throw notDecorable(`${name} is an accessor`);
  return { ...descriptor, value: wrap(name, descriptor.value) };
}

function inTransaction<Client, Self>(
  source: TransactionsSource<Client, Self>,
  options: ScopeOptions,
  name: string,
  method: AnyMethod,
): AnyMethod {
  // Asynchronous, so that a source that throws rejects, as everything else does.
  const wrapped = async function (this: unknown, ...args: unknown[]): Promise<unknown> {
    // The types of the decorator see to it that the class has what the source asks for.
    const tx = typeof source === 'function' ? source(this as Self) : source;
    const label = `${classOf(this)}${name}`;
    return await tx.wrap(method, { label, ...options }).apply(this, args);
  };
  for (const key of ['name', 'length'] as const) {
    Object.defineProperty(wrapped, key, { value: method[key], configurable: true });
  }
  copyMetadata(method, wrapped);
  return wrapped;
}

function classOf(self: unknown): string {
  if (typeof self === 'function') return `${self.name}.`;
  if (typeof self !== 'object' || self === null) return '';
  const { name } = self.constructor;
  return name === '' ? '' : `${name}.`;
}

/** The part of reflect-metadata that is used, if the program has it. */
interface MetadataReflection {
  getOwnMetadataKeys?(target: object): unknown[];
  getOwnMetadata?(key: unknown, target: object): unknown;
  defineMetadata?(key: unknown, value: unknown, target: object): void;
}

/** Frameworks keep what their decorators say under the function itself, which is another one now. */
function copyMetadata(from: object, to: object): void {
  const reflection: MetadataReflection & typeof Reflect = Reflect;
  for (const key of reflection.getOwnMetadataKeys?.(from) ?? []) {
    reflection.defineMetadata?.(key, reflection.getOwnMetadata?.(key, from), to);
  }
}

/** Decorators get at least two arguments, except that of a class, which gets a function. */
function areOptions(args: readonly unknown[]): args is readonly [options?: ScopeOptions] {
  return args.length < 2 && typeof args[0] !== 'function';
}

function isContext(key: unknown): key is Pick<DecoratorContext, 'kind' | 'name'> {
  return typeof key === 'object' && key !== null && 'kind' in key;
}

function isDescriptor(value: unknown): value is PropertyDescriptor {
  return typeof value === 'object' && value !== null;
}

function isMethod(value: unknown): value is AnyMethod {
  return typeof value === 'function';
}

function notDecorable(what: string): SettleError {
  return new SettleError('config_invalid', `@Transactional is for methods, but ${what}`, {
    next: 'Put it on methods that return a promise',
  });
}
