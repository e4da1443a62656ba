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
      return typeof value === 'function' && key !== 'constructor'
        ? (value as AnyFunction).bind(client)
        : value;
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

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
