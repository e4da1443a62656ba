/** `settle/local`: re-entrant local transactions. Needs no coordinator, and a driver from `settle/local/<driver>`. */
export type { Clock } from './clock.ts';
export {
  mysqlDialect,
  postgresDialect,
  sqliteDialect,
  type BeginOptions,
  type Dialect,
  type Failure,
  type Isolation,
} from './dialect.ts';
export {
  derivedDriver,
  type Connection,
  type Driver,
  type Gate,
  type Need,
  type TransactionStatus,
} from './driver.ts';
export { CommitUnknown, PostCommitError, UnexpectedRollback } from './errors.ts';
export type { CompletionHook, CompletionStatus, Hook } from './hooks.ts';
export { createTransactions } from './manager.ts';
export type { RetryOptions, ScopeOptions } from './options.ts';
export type { Propagation } from './propagation.ts';
export { parseToken, readTokenLengthMax, type ReadToken } from './read-token.ts';
export type { ReadOptions, Reads } from './reads.ts';
export type { HandleOptions, JoiningOptions, OpenTransaction, Scope, Transaction } from './transaction.ts';
export {
  transactional,
  type Transactional,
  type TransactionalDecorator,
  type TransactionsSource,
} from './transactional.ts';
export type { OutsideOptions, ReplicaOptions, Transactions, TransactionsOptions } from './transactions.ts';
