import { settleWith } from './settle-with.ts';

export const peer = settleWith('settle', { about: 'its defaults', reserveForNested: 0 });
