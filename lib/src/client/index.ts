/** `settle`: transactions defined as code or made of URLs, and the verbs that run them. */
export { connect, type ConnectOptions } from './connect.ts';
export type { LocalTransactions, LocalValue, Sent } from './local-transaction.ts';
export type { MessageBuilder, MessageTarget, MessageUrlOptions, Sendable } from './message-builder.ts';
export type { AbortedOutcome, TransactionOutcome } from './outcome.ts';
export { patienceDefault, type Patience } from './patience.ts';
export { from, type FromResult, type PayloadWithReferences } from './references.ts';
export type { SagaBuilder, SagaUrlOptions, SagaUrlStep } from './saga-builder.ts';
export { newGid, runWaitDefaultMs, type RunOptions, type Settle, type SubmitOptions } from './settle.ts';
export type { TccSession, TccUrlBranch, TccUrlOptions } from './tcc-session.ts';
export type { ChangeQuery } from './transport.ts';
export type { TransactionChange } from '../wire/transaction.ts';
export * from '../define/index.ts';
export type {
  ActionRequest,
  SubmitOutcome,
  TransactionPage,
  TransactionQuery,
  TransactionSummary,
  WaitOptions,
} from '../core/coordinator.ts';
export type { BranchName, Gid } from '../core/ids.ts';
export type { Definition, HistoryEntry, Pattern, Status, TransactionView } from '../core/patterns.ts';
export type { RetryPolicy } from '../core/retry-policy.ts';
export { SettleError, errorCodes, isSettleError } from '../util/errors.ts';
export type { ErrorCode, InputIssue, SettleErrorDetails } from '../util/errors.ts';
export type { Json, JsonObject } from '../util/json.ts';
