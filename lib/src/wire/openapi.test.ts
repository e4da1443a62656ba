import { describe, expect, expectTypeOf, it } from 'vitest';
import type { TransactionPage } from '../core/coordinator.ts';
import type { TransactionView } from '../core/patterns.ts';
import { isJsonObject, type Json } from '../util/json.ts';
import { openApi } from './openapi.ts';
import type { Problem } from './problem.ts';
import { routes, type Route } from './routes.ts';
import type { Infer } from './schema.ts';
import {
  hasEnded,
  locationOf,
  type changeSchema,
  type pageSchema,
  type problemSchema,
  type TransactionChange,
  type transactionSchema,
} from './transaction.ts';

const all: readonly Route[] = routes;
const document = openApi(all, '1.2.3');

/** Follows a local reference. */
function resolve(ref: string): Json | undefined {
  let here: Json | undefined = document;
  for (const key of ref.slice(2).split('/')) {
    here = isJsonObject(here) ? here[key.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined;
  }
  return here;
}

function* within(value: Json): Generator<Json> {
  yield value;
  if (typeof value === 'object' && value !== null)
    for (const item of Object.values(value)) yield* within(item);
}

describe('the OpenAPI document', () => {
  it('has every route, and every operation once', () => {
    for (const { path, method, operation } of all) {
      const ref = `#/paths/${path.replaceAll('/', '~1')}/${method.toLowerCase()}/operationId`;
      expect(resolve(ref)).toBe(operation);
    }
    expect(new Set(all.map(({ operation }) => operation)).size).toBe(all.length);
  });

  it('refers to nothing that is not there', () => {
    const refs = [...within(document)].flatMap((value) =>
      isJsonObject(value) && typeof value['$ref'] === 'string' ? [value['$ref']] : [],
    );
    expect(refs.length).toBeGreaterThan(30);
    expect(refs.filter((ref) => resolve(ref) === undefined)).toEqual([]);
  });

  it('declares the gid of every path that has one', () => {
    for (const { path, method } of all.filter((route) => route.path.includes('{gid}'))) {
      const parameters = resolve(`#/paths/${path.replaceAll('/', '~1')}/${method.toLowerCase()}/parameters`);
      expect(parameters).toContainEqual(expect.objectContaining({ name: 'gid', in: 'path', required: true }));
    }
  });

  it('allows no member that is not declared, in any body', () => {
    const shapes = [...within(resolve('#/components/schemas') ?? null)].filter(
      (value) => isJsonObject(value) && value['type'] === 'object',
    );
    expect(shapes.length).toBeGreaterThan(10);
    for (const shape of shapes) expect(shape).toHaveProperty('additionalProperties');
  });

  it('prints its shapes', () => {
    expect(resolve('#/components/schemas/Call')).toMatchObject({
      required: ['url'],
      properties: { url: { type: 'string', format: 'uri' }, payload: {} },
    });
    expect(resolve('#/paths/~1v1~1transactions/post/responses/202/headers')).toHaveProperty('Location');
    expect(resolve('#/paths/~1v1~1transactions/post/responses/409/description')).toBe('`gid_conflict`');
    expect(resolve('#/paths/~1health~1live/get/security')).toEqual([]);
  });
});

describe('the shapes of answers', () => {
  it('are those of core', () => {
    type Loose<T> = T extends string
      ? string
      : T extends readonly (infer I)[]
        ? readonly Loose<I>[]
        : T extends object
          ? { [K in keyof T]: Loose<T[K]> }
          : T;
    expectTypeOf<Loose<TransactionView>>().toExtend<Loose<Infer<typeof transactionSchema>>>();
    expectTypeOf<Loose<Infer<typeof transactionSchema>>>().toExtend<Loose<TransactionView>>();
    expectTypeOf<Loose<TransactionPage>>().toExtend<Loose<Infer<typeof pageSchema>>>();
    expectTypeOf<Loose<Infer<typeof pageSchema>>>().toExtend<Loose<TransactionPage>>();
    expectTypeOf<Problem>().toExtend<Infer<typeof problemSchema>>();
    expectTypeOf<Infer<typeof problemSchema>>().toExtend<Problem>();
    expectTypeOf<TransactionChange>().toExtend<Infer<typeof changeSchema>>();
    expectTypeOf<TransactionView['status']>().toEqualTypeOf<Infer<typeof transactionSchema>['status']>();
  });

  it('say of a status whether it is the last', () => {
    expect([hasEnded('committed'), hasEnded('forgotten'), hasEnded('running')]).toEqual([true, true, false]);
    expectTypeOf(locationOf).parameter(0).toEqualTypeOf<TransactionView['gid']>();
  });
});
