/** What `sql` of postgres.js is inside a transaction: a `sql` like it, whose every statement goes through the gate. */
import { SettleError } from '../../util/errors.ts';
import type { Gate } from '../driver.ts';
import { refuseLater } from './orm.ts';
import type { PostgresJsConnection, PostgresJsQuery, PostgresJsSql } from './postgres-js.ts';

type AnyGate = Pick<Gate<unknown, PostgresJsConnection>, 'run'>;
type Nested<Sql> = (sql: Sql) => unknown;

const belongElsewhere = new Set<string | symbol>([
  'file',
  'reserve',
  'listen',
  'subscribe',
  'largeObject',
  'end',
  'close',
  'prepare',
]);

export class PostgresJsHandle<Sql extends PostgresJsSql> implements ProxyHandler<Sql> {
  readonly #sql: Sql;
  readonly #gate: Gate<Sql, PostgresJsConnection>;

  constructor(sql: Sql, gate: Gate<Sql, PostgresJsConnection>) {
    this.#sql = sql;
    this.#gate = gate;
  }

  /** A tagged template is a query; everything else is a helper, which needs no connection. */
  apply(_: Sql, __: unknown, args: readonly unknown[]): unknown {
    const [strings, ...values] = args;
    if (!isTemplate(strings)) return Reflect.apply(this.#sql, undefined, args);
    return this.#query(call(this.#sql, undefined, args), () => textOf(strings, values));
  }

  get(_: Sql, key: string | symbol): unknown {
    switch (key) {
      case 'unsafe':
        return (...args: readonly [string]) =>
          this.#query(call(this.#sql.unsafe, this.#sql, args), () => args[0]);
      case 'notify':
        return (...args: readonly [string, string]) => this.#notify(...args);
      case 'begin':
        return (...args: readonly [string, Nested<Sql>] | readonly [Nested<Sql>]) => this.#begin(args);
      case 'savepoint':
        // What it is called is of no use: names of savepoints are the manager's.
        return (...args: readonly unknown[]) => this.#nested(args.at(-1) as Nested<Sql>);
      default:
        if (belongElsewhere.has(key))
          return refuseLater(`sql.${String(key)}()`, 'Call it on the pool itself');
        return Reflect.get(this.#sql, key);
    }
  }

  #query(query: PostgresJsQuery, text: () => string): object {
    return new Proxy(query, new Statement(query, text, this.#gate));
  }

  async #notify(channel: string, payload: string): Promise<unknown> {
    const text = 'select pg_notify($1, $2)';
    const query = call(this.#sql.unsafe, this.#sql, [text, [channel, payload]]);
    return await new Statement(query, () => text, this.#gate).run();
  }

  async #begin(args: readonly [string, Nested<Sql>] | readonly [Nested<Sql>]): Promise<unknown> {
    if (args.length === 1) return await this.#nested(args[0]);
    throw new SettleError(
      'statement_refused',
      `begin('${args[0]}') cannot change the transaction around it`,
      {
        next: 'Say isolation and readOnly where the transaction begins, in the options of run()',
      },
    );
  }

  #nested(work: Nested<Sql>): Promise<unknown> {
    return this.#gate.nested(async (sql) => {
      const made = work(sql);
      return await (Array.isArray(made) ? Promise.all<unknown>(made) : made);
    });
  }
}

/**
 * In front of a query of the pool's, which others take as a fragment. As it does, it begins when somebody waits for it, but
 * on the connection of the transaction, when it is its turn there.
 */
class Statement implements ProxyHandler<PostgresJsQuery> {
  readonly #query: PostgresJsQuery;
  readonly #text: () => string;
  readonly #gate: AnyGate;
  #ran: Promise<unknown> | undefined;
  #connection: PostgresJsConnection | undefined;
  #isCancelled = false;

  constructor(query: PostgresJsQuery, text: () => string, gate: AnyGate) {
    this.#query = query;
    this.#text = text;
    this.#gate = gate;
  }

  get(query: PostgresJsQuery, key: string | symbol, proxy: object): unknown {
    switch (key) {
      case 'then':
      case 'catch':
      case 'finally': {
        const ran = this.run();
        return Reflect.get(ran, key).bind(ran) as unknown;
      }
      case 'execute':
        return () => {
          void this.run();
          return proxy;
        };
      case 'values':
      case 'raw':
      case 'simple':
      case 'describe':
        return () => {
          call(Reflect.get(query, key) as () => unknown, query, []);
          return proxy;
        };
      case 'forEach':
        return (each: unknown) => {
          query.forEachFn = each;
          return this.run();
        };
      case 'cancel':
        return () => this.#cancel();
      case 'cursor':
        return refuse;
      case 'readable':
      case 'writable':
        return refuseLater(`${key}()`, 'Read in pages, or use a connection of the pool for it');
      default:
        return Reflect.get(query, key, query);
    }
  }

  run(): Promise<unknown> {
    this.#ran ??= this.#begin(this.#text());
    return this.#ran;
  }

  #begin(text: string): Promise<unknown> {
    return this.#gate.run((connection) => this.#runOn(connection, text), text);
  }

  async #runOn(connection: PostgresJsConnection, text: string): Promise<unknown> {
    if (this.#isCancelled) throw cancelled();
    this.#connection = connection;
    try {
      return await connection.run(this.#query, text);
    } finally {
      this.#connection = undefined;
    }
  }

  #cancel(): void {
    this.#isCancelled = true;
    // Whether it was heard shows in the query.
    this.#connection?.cancel().catch(() => {});
  }
}

function call(fn: (...args: never[]) => unknown, on: unknown, args: readonly unknown[]): PostgresJsQuery {
  return Reflect.apply(fn, on, args) as PostgresJsQuery;
}

function isTemplate(value: unknown): value is TemplateStringsArray {
  return Array.isArray(value) && 'raw' in value;
}

/** The text, with that of its fragments: one that begins a transaction may stand in a fragment. */
function textOf(strings: readonly string[], values: readonly unknown[]): string {
  let text = strings[0] ?? '';
  for (let n = 1; n < strings.length; n++) text += `${fragmentOf(values[n - 1])}${strings[n]}`;
  return text;
}

function fragmentOf(value: unknown): string {
  if (Array.isArray(value) && value[0] instanceof Promise) return value.map(fragmentOf).join(' ');
  if (!(value instanceof Promise)) return '$';
  const { strings = [], args = [] } = value as { strings?: readonly string[]; args?: readonly unknown[] };
  return textOf(strings, args);
}

function refuse(): never {
  throw new SettleError('statement_refused', 'a cursor cannot wait for its turn', {
    next: 'Read in pages, use forEach(), or use a connection of the pool for it',
  });
}

/** As postgres.js says it of a query that was cancelled before it was sent. */
function cancelled(): Error {
  return Object.assign(new Error('57014: canceling statement due to user request'), { code: '57014' });
}
