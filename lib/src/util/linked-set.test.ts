import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LinkedSet, type Place } from './linked-set.ts';

/** The latest first; it is empty afterwards. */
function membersOf<T>(set: LinkedSet<T>): readonly T[] {
  const members: T[] = [];
  for (let member = set.removeLast(); member !== undefined; member = set.removeLast()) members.push(member);
  return members;
}

describe('a linked set', () => {
  it('holds what was added and not taken out, the latest first', () => {
    // At each number: add it, or take out the member that stands there.
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat({ max: 12 }))), (moves) => {
        const set = new LinkedSet<number>();
        const model: { readonly member: number; readonly place: Place<number> }[] = [];
        moves.forEach((at, n) => {
          if (at === null || at >= model.length) model.push({ member: n, place: set.add(n) });
          else for (const { place } of model.splice(at, 1)) set.remove(place);
        });
        expect(membersOf(set)).toEqual(model.map(({ member }) => member).toReversed());
        expect(set.removeLast()).toBeUndefined();
      }),
    );
  });

  it('bears a member that is taken out twice', () => {
    const set = new LinkedSet<string>();
    const first = set.add('first');
    set.add('second');
    set.remove(first);
    set.remove(first);
    expect(membersOf(set)).toEqual(['second']);
  });

  it('lets what was taken out point to nothing, so that it keeps nothing in memory', () => {
    const set = new LinkedSet<string>();
    const [first, second] = [set.add('first'), set.add('second')];
    set.remove(first);
    expect(first).toMatchObject({ before: undefined, after: undefined });
    expect(second.before).toBeUndefined();
  });
});
