/** Definitions as code: what is submitted by `run`, and served by `openCoordinator` or a participant's handler. */
export { unchecked, type CodeDefinition, type FunctionContext } from './definition.ts';
export { saga, type Saga, type SagaContext, type SagaOptions, type SagaStepFunctions } from './saga.ts';
export type { StandardSchema } from './standard-schema.ts';
export type { Stored } from './stored.ts';
