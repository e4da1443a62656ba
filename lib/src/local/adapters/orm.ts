/** What the adapters of ORMs have in common. It knows none of them. */
import { isSettleError, SettleError } from '../../util/errors.ts';
import type { Connection, Driver, Gate } from '../driver.ts';

/**
 * The function that makes the driver beneath an ORM out of the ORM's own connections: `pgDriver`. It is handed what the
 * ORM holds, and checks it itself: an ORM does not say in types which database it is for.
 */
export type DriverBeneath = (pool: never) => Driver<object>;

/**
 * The driver of a library that gives promises whatever is beneath it: its statements can wait for their turn also on a
 * driver that answers at once, whose handles it uses with {@link onTurn}.
 */
export function promisingDriver<Client>(
  base: Driver<object>,
  { outside, client, holding }: Pick<Driver<Client>, 'outside' | 'client' | 'holding'>,
): Driver<Client> {
  return {
    name: base.name,
    dialect: base.dialect,
    outside,
    get connectionsMax() {
      return base.connectionsMax;
    },
    get hasIdleConnection() {
      return base.hasIdleConnection === true;
    },
    answers: 'later',
    acquire: (need) => base.acquire(need),
    client,
    ...(holding !== undefined && { holding }),
  };
}

/** For a handle of the base driver that is used by those alone whose turn it is. */
export function onTurn(connection: Connection): Gate<object> {
  return {
    run: async (statement) => await statement(connection),
    runNow: (statement) => statement(connection),
    nested: refuseLater('nested()', 'Use run(), with propagation nested for a savepoint of its own'),
    afterCommit: refuse('afterCommit()', 'Use onAfterCommit()'),
  };
}

/** Throws for what belongs to the manager: `what` names the call, `instead` the one that does it. */
export function refuse(what: string, instead: string): () => never {
  return () => {
    throw new SettleError('statement_refused', `${what} belongs to the manager of the transaction`, {
      next: instead,
    });
  };
}

/** The same for calls that give a promise. */
export function refuseLater(what: string, instead: string): () => Promise<never> {
  const refused = refuse(what, instead);
  return async () => refused();
}

/** What ORMs call the error that theirs is made of. */
const inner = ['cause', 'driverError', 'original', 'parent', 'previous'] as const;
const causesMax = 10;

/**
 * The error an ORM wrapped, where it is one of ours: `scope_ended` is no failed query, and its code, `next` and cause
 * have to reach the caller. Any other error as it is.
 */
export function unwrapped(error: unknown): unknown {
  for (let at = error, depth = 0; isObject(at) && depth < causesMax; depth++) {
    const wrapper = at;
    // Some copy everything of the error into theirs, but not its name.
    if (wrapper['name'] === 'SettleError' && isSettleError(wrapper)) return wrapper;
    at = inner.map((name) => wrapper[name]).find(isObject);
  }
  return error;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
