// What every adapter of settle/local holds to, whatever is beneath it. The titles are those of the two lists in the
// reference: "What happens in Node today" (12 cases), and the must-have list (20 items).
import { describe } from 'vitest';
import { mustHave } from './must-have.ts';
import { twelveCases } from './twelve-cases.ts';
import { scopeTreesLeaveWhatTheModelSays } from './scope-trees.ts';
import type { Subject } from './subject.ts';

/** `trees`: how many random ones are compared with the model. */
export function localContract<Client>(subject: Subject<Client>, trees = treesDefault(subject)): void {
  describe(`${subject.name} on ${subject.database.kind}`, () => {
    twelveCases(subject);
    mustHave(subject);
    if (trees > 0) scopeTreesLeaveWhatTheModelSays(subject, trees);
  });
}

/** None where one connection is taken late: the model says what happens where it is taken at the beginning. */
function treesDefault<Client>({ database }: Subject<Client>): number {
  return database.kind === 'sqlite' ? 0 : 100;
}
