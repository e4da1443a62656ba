// What every adapter of settle/local holds to, whatever is beneath it. The titles are those of the two lists in the
// reference: "What happens in Node today" (12 cases), and the must-have list (20 items).
import { describe } from 'vitest';
import { mustHave } from './must-have.ts';
import { twelveCases } from './twelve-cases.ts';
import type { Subject } from './subject.ts';

export function localContract<Client>(subject: Subject<Client>): void {
  describe(`${subject.name} on ${subject.database.kind}`, () => {
    twelveCases(subject);
    mustHave(subject);
  });
}
