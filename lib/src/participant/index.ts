/** `settle/participant`: answers branch calls in any framework, and the barrier that makes them take effect once. */
export { Ongoing, Refused, isOngoing, isRefused } from '../define/answers.ts';
export { parseAnswer, printAnswer, resultOrRefusal, type Answer } from './answer.ts';
export {
  barrier,
  begin,
  type BarrierCall,
  type BarrierRow,
  type BarrierTransaction,
  type BarrierWork,
} from './barrier.ts';
export type { Guard, KeptResult } from './guard.ts';
export { definitionsHandler } from './definitions.ts';
export {
  bodyBytesMaxDefault,
  handler,
  type HandlerOptions,
  type ParticipantCall,
  type Work,
  type WorkResult,
} from './handler.ts';
export { keepAnswer, tellAnswer } from './kept-answers.ts';
export type { MaybePromise } from './maybe-async.ts';
export type { Handler, HandlerRequest, HandlerResponse } from './message.ts';
