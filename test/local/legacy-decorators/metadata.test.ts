// What frameworks keep under a decorated function, and expect to find again.
import 'reflect-metadata';
import { expect, it } from 'vitest';
import { transactional } from '../../../lib/src/local/transactional.ts';
import { nodeSqliteSubject } from '../node-sqlite-subject.ts';
import { worldOf } from '../world.ts';

const { transactions } = worldOf(nodeSqliteSubject());

/** As Nest does it: under the function. */
function Route(path: string) {
  return (_target: object, _name: string, descriptor: PropertyDescriptor): void =>
    Reflect.defineMetadata('path', path, descriptor.value as object);
}

it('finds metadata again that was said before or after @Transactional, and the types of the compiler', async () => {
  const Transactional = transactional(await transactions());

  class Orders {
    @Route('/before')
    @Transactional()
    async before(id: number): Promise<number> {
      return await Promise.resolve(id);
    }

    @Transactional()
    @Route('/after')
    async after(id: string): Promise<string> {
      return await Promise.resolve(id);
    }
  }

  const pathOf = (name: 'before' | 'after'): unknown => {
    const method = Object.getOwnPropertyDescriptor(Orders.prototype, name)?.value as object;
    return Reflect.getMetadata('path', method);
  };
  expect([pathOf('before'), pathOf('after')]).toEqual(['/before', '/after']);
  expect(Reflect.getMetadata('design:paramtypes', Orders.prototype, 'after')).toEqual([String]);
  expect(await new Orders().before(1)).toBe(1);
});
