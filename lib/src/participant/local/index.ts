/** `settle/participant/local`: the barrier in the transactions of `settle/local`, on any driver or ORM. */
export type { Answer } from '../answer.ts';
export * from './local-barrier.ts';
