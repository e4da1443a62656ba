/**
 * A client that stands for another one, chosen anew at every use: it can be kept in a field, and means the transaction of
 * the code that uses it.
 */
export function ambientClient<Client>(like: Client, choose: () => Client): Client {
  if (!isObject(like)) return like;
  const target: object = typeof like === 'function' ? () => {} : {};
  const chosen = (): object => {
    const client: unknown = choose();
    return isObject(client) ? client : like;
  };
  return new Proxy(target, {
    get(_, key) {
      const client = chosen();
      const value: unknown = Reflect.get(client, key, client);
      // Methods belong to the client they were taken from, and see its private fields.
      return typeof value === 'function' && key !== 'constructor' ? bound(value, client) : value;
    },
    has: (_, key) => Reflect.has(chosen(), key),
    apply: (_, __, args: unknown[]) => Reflect.apply(chosen() as AnyFunction, undefined, args),
    getPrototypeOf: () => Reflect.getPrototypeOf(chosen()),
    set() {
      throw new TypeError('the ambient client cannot be changed: change the pool it stands for');
    },
  }) as Client;
}

type AnyFunction = (...args: unknown[]) => unknown;

const boundMethods = new WeakMap<object, WeakMap<object, AnyFunction>>();

/** Bound once for each client, so that the same method is the same function; what it has as a function stays there. */
function bound(method: object, client: object): AnyFunction {
  const known = boundMethods.get(client) ?? new WeakMap<object, AnyFunction>();
  boundMethods.set(client, known);
  const before = known.get(method);
  if (before !== undefined) return before;
  const made = new Proxy(method as AnyFunction, {
    apply: (target, _, args: unknown[]) => Reflect.apply(target, client, args),
  });
  known.set(method, made);
  return made;
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
