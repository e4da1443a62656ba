import { settleWith } from './settle-with.ts';

export const peer = settleWith('settle-reserve', {
  about: 'one connection kept for transactions within others, unless there is only one',
  reserveForNested: 1,
});
