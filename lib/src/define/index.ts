/** Definitions as code: what is submitted by `run`, and served by `openCoordinator` or a participant's handler. */
export { Ongoing, Refused, isOngoing, isRefused } from './answers.ts';
export type { CodeDefinition, FunctionContext } from './definition.ts';
export {
  functionAddress,
  registryOf,
  servedAt,
  type AddressOf,
  type FunctionCall,
  type FunctionRegistry,
  type RegisteredFunction,
} from './functions.ts';
export {
  checkAddress,
  message,
  type Message,
  type MessageOptions,
  type MessageTargetFunctions,
} from './message.ts';
export { saga, type Saga, type SagaContext, type SagaOptions, type SagaStepFunctions } from './saga.ts';
export { unchecked, type StandardSchema } from './standard-schema.ts';
export type { Stored } from './stored.ts';
export { tcc, type Tcc, type TccBranchFunctions, type TccOptions } from './tcc.ts';
