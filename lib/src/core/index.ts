/** `settle/core`: the patterns as pure functions, their states, and what is legal in which. */
export * from './call-spec.ts';
export * from './codec.ts';
export * from './coordinator.ts';
export * from './ids.ts';
export * from './legal.ts';
export { message } from './message.ts';
export type { CheckState, DeliveryState, MessageState } from './message.ts';
export * from './message-plan.ts';
export * from './outcome.ts';
export * from './patterns.ts';
export { branchesMax, type PlanCommon } from './plan.ts';
export * from './protocol.ts';
export * from './retry-policy.ts';
export { saga } from './saga.ts';
export type { SagaState, StepState } from './saga.ts';
export {
  planSaga,
  type SagaDefinition,
  type SagaPlan,
  type SagaStep,
  type SagaStepDefinition,
} from './saga-plan.ts';
export { tcc, untried } from './tcc.ts';
export type { TccBranchState, TccProgress, TccState } from './tcc.ts';
export * from './tcc-plan.ts';
export { SettleError, errorCodes, isSettleError } from '../util/errors.ts';
export type { ErrorCode, InputIssue, SettleErrorDetails } from '../util/errors.ts';
export type { Json, JsonObject } from '../util/json.ts';
