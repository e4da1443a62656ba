/** `settle/local/nest`: transactions as providers of NestJS, decorated services, and a transaction for each request. */
import { SettleError } from '../../util/errors.ts';
import type { ScopeOptions } from '../options.ts';
import { transactional } from '../transactional.ts';
import type { Transactions } from '../transactions.ts';

export {
  TransactionInterceptor,
  valuesMax,
  type NestExecutionContext,
  type ObservableValues,
} from './nest-interceptor.ts';

/** What is injected as the transactions of a data source: `@Inject(transactionsToken()) tx: Transactions<Client>`. */
export function transactionsToken(name = 'default'): string {
  return `settle:transactions:${name}`;
}

export interface TransactionsModuleOptions<Client, Needed extends unknown[], Import> {
  /** Of the data source, where there are several. Default: `default`. */
  readonly name?: string;
  /** Modules that provide what the factory needs. */
  readonly imports?: Import[];
  /** What the factory is given. */
  readonly inject?: InjectionToken[];
  readonly useFactory: (...needed: Needed) => Transactions<Client> | Promise<Transactions<Client>>;
  /** Whether every module can have it injected without importing it. Default: true. */
  readonly global?: boolean;
}

/**
 * The module of one data source:
 * `TransactionsModule.forRoot({ inject: [Pool], useFactory: (pool: Pool) => createTransactions(pgDriver(pool)) })`. Several
 * data sources are several of them, each with a name.
 */
// eslint-disable-next-line typescript/no-extraneous-class -- a module of Nest is a class
export class TransactionsModule {
  static forRoot<Client, Needed extends unknown[], Import = never>(
    options: TransactionsModuleOptions<Client, Needed, Import>,
  ): TransactionsDynamicModule<Client, Needed, Import> {
    const { name, imports = [], inject = [], useFactory, global = true } = options;
    const provide = transactionsToken(name);
    return {
      module: TransactionsModule,
      global,
      imports,
      providers: [{ provide, inject, useFactory }],
      exports: [provide],
    };
  }
}

/** As Nest takes it. */
export interface TransactionsDynamicModule<Client, Needed extends unknown[], Import> {
  module: typeof TransactionsModule;
  global: boolean;
  imports: Import[];
  providers: {
    provide: string;
    inject: InjectionToken[];
    useFactory: (...needed: Needed) => Transactions<Client> | Promise<Transactions<Client>>;
  }[];
  exports: string[];
}

type InjectionToken = string | symbol | (abstract new (...args: never[]) => unknown);

export interface NestTransactionalOptions extends ScopeOptions {
  /** The name of the data source. Default: `default`. */
  readonly dataSource?: string;
}

/** `@Transactional()` on a method of a provider. */
export type NestTransactional = (
  options?: NestTransactionalOptions,
) => <Method extends (...args: never[]) => Promise<unknown>>(
  target: object,
  name: string | symbol,
  descriptor: TypedPropertyDescriptor<Method>,
) => TypedPropertyDescriptor<Method>;

/**
 * Makes the decorator of an app, once: `export const Transactional = nestTransactional(Inject)`, with `Inject` of
 * `@nestjs/common`. A class that has it on a method is given the transactions of that data source by Nest, as a property of
 * its own: its constructor need not ask for them, and every app has its own.
 *
 * Throws what `transactional` does, and `config_invalid` for a static method; calling a method of an instance that Nest did
 * not make throws `config_invalid`.
 */
export function nestTransactional(inject: Inject): NestTransactional {
  return ({ dataSource, ...options } = {}) => {
    const token = transactionsToken(dataSource);
    const property = Symbol.for(token);
    const decorate = transactional((self: object) => injected(self, property, token))(options);
    return (target, name, descriptor) => {
      if (typeof target === 'function') {
        throw new SettleError(
          'config_invalid',
          `${target.name}.${String(name)} is static, and nothing is injected there`,
          {
            next: 'Make it a method of the provider',
          },
        );
      }
      inject(token)(target, property);
      return decorate(target, name, descriptor);
    };
  };
}

/** `Inject` of `@nestjs/common`. */
export type Inject = (token: string) => (target: object, key: symbol) => void;

function injected(self: object, property: symbol, token: string): Transactions<unknown> {
  const tx: unknown = Reflect.get(self, property);
  // It is what the module's factory made.
  if (typeof tx === 'object' && tx !== null) return tx as Transactions<unknown>;
  throw new SettleError('config_invalid', `${self.constructor.name} has no transactions (${token})`, {
    next: 'Have Nest make the instance; a test module provides them under transactionsToken()',
  });
}
