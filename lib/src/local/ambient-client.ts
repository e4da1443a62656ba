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
      // Whatever is returned by an async function is asked for this, also where there is no transaction.
      const client = key === 'then' ? like : chosen();
      const value: unknown = Reflect.get(client, key, client);
      return typeof value === 'function' && key !== 'constructor'
        ? boundTo(client, value as AnyFunction)
        : value;
    },
    has: (_, key) => Reflect.has(chosen(), key),
    apply: (_, __, args: unknown[]) => Reflect.apply(chosen() as AnyFunction, undefined, args),
    getPrototypeOf: () => Reflect.getPrototypeOf(chosen()),
    ownKeys: () => Reflect.ownKeys(chosen()),
    getOwnPropertyDescriptor(_, key) {
      const described = Reflect.getOwnPropertyDescriptor(chosen(), key);
      // The client stood for may be another one the next time.
      return described && { ...described, configurable: true };
    },
    set: refuseChange,
    defineProperty: refuseChange,
    deleteProperty: refuseChange,
    setPrototypeOf: refuseChange,
  }) as Client;
}

/** Methods belong to the client they were taken from, and see its private fields; what they have of their own stays. */
function boundTo(client: object, method: AnyFunction): AnyFunction {
  return Object.assign(method.bind(client), method);
}

function refuseChange(): never {
  throw new TypeError('the ambient client cannot be changed: change the pool it stands for');
}

type AnyFunction = (...args: unknown[]) => unknown;

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
