import { describe, expectTypeOf, it } from 'vitest';
import { message } from './message.ts';
import { saga } from './saga.ts';
import { unchecked } from './standard-schema.ts';
import { tcc } from './tcc.ts';

interface Order {
  sku: string;
  quantity: number;
  placedAt: Date;
}

const order = unchecked<Order>();

describe('the types of a saga', () => {
  it('flow from the schema and the results without a type argument', () => {
    const placeOrder = saga('place-order', { input: order })
      .step('reserve', {
        do: async (input, ctx) => {
          expectTypeOf(input.sku).toEqualTypeOf<string>();
          expectTypeOf(input.placedAt).toEqualTypeOf<string>();
          expectTypeOf(ctx.attempt).toEqualTypeOf<number>();
          expectTypeOf(ctx.results).toEqualTypeOf<{}>();
          return { id: input.sku, total: 3 };
        },
        undo: (input, reserved) => {
          expectTypeOf(input.quantity).toEqualTypeOf<number>();
          expectTypeOf(reserved?.id).toEqualTypeOf<string | undefined>();
        },
      })
      .step('charge', {
        do: (_input, ctx) => {
          expectTypeOf(ctx.results.reserve.total).toEqualTypeOf<number>();
          return ctx.results.reserve.total;
        },
        undo: (_input, charged, ctx) => {
          expectTypeOf(charged).toEqualTypeOf<number | undefined>();
          expectTypeOf(ctx.results.reserve?.total).toEqualTypeOf<number | undefined>();
        },
      })
      .step('mail', { do: () => {} });
    type Results = NonNullable<(typeof placeOrder)['~types']>['results'];
    expectTypeOf<Results['reserve']['id']>().toEqualTypeOf<string>();
    expectTypeOf<Results['charge']>().toEqualTypeOf<number>();
    expectTypeOf<Results['mail']>().toEqualTypeOf<null>();
    type Input = NonNullable<(typeof placeOrder)['~types']>['input'];
    expectTypeOf<Input>().toEqualTypeOf<Order>();
  });

  it('show a step only the results of the steps it comes after', () => {
    saga('diamond', { input: order })
      .step('root', { do: () => 1 })
      .step('left', { after: ['root'], do: () => 'l' })
      .step('right', {
        after: ['root'],
        do: (_input, ctx) => {
          expectTypeOf(ctx.results.root).toEqualTypeOf<number>();
          // @ts-expect-error: left runs beside it
          void ctx.results.left;
        },
      })
      .step('join', {
        after: ['left', 'right'],
        do: (_input, ctx) => {
          expectTypeOf(ctx.results.root).toEqualTypeOf<number>();
          expectTypeOf(ctx.results.left).toEqualTypeOf<string>();
        },
      })
      .step('alone', {
        after: [],
        do: (_input, ctx) => {
          // @ts-expect-error: nothing comes before it
          void ctx.results.root;
        },
      });
  });

  it('refuse a repeated name and a dependency that is not an earlier step', () => {
    const one = saga('one', { input: order }).step('a', { do: () => 1 });
    // @ts-expect-error: there is a step `a` already
    const repeated = () => one.step('a', { do: () => 2 });
    // @ts-expect-error: there is no step `z`
    const stranger = () => one.step('b', { after: ['z'], do: () => 2 });
    void [repeated, stranger];
  });
});

describe('the types of a TCC transaction', () => {
  it('hand what was tried to confirm for sure, and to cancel perhaps', () => {
    const transfer = tcc('transfer', { input: order }).branch('debit', {
      try: async (input) => ({ hold: input.sku, at: new Date(0) }),
      confirm: (_input, tried) => expectTypeOf(tried.at).toEqualTypeOf<string>(),
      cancel: (_input, tried) => expectTypeOf(tried?.hold).toEqualTypeOf<string | undefined>(),
    });
    type Results = NonNullable<(typeof transfer)['~types']>['results'];
    expectTypeOf<Results['debit']['hold']>().toEqualTypeOf<string>();
    const call = { try: () => 1, confirm: () => 1, cancel: () => 1 };
    // @ts-expect-error: there is a branch `debit` already
    const repeated = () => transfer.branch('debit', call);
    void repeated;
  });
});

describe('the types of a message', () => {
  it('hand the input to every target', () => {
    const placed = message('placed', { input: order })
      .to('points', { deliver: (input) => input.quantity })
      .to('mail', { deliver: (input) => expectTypeOf(input.placedAt).toEqualTypeOf<string>() });
    type Results = NonNullable<(typeof placed)['~types']>['results'];
    expectTypeOf<Results['points']>().toEqualTypeOf<number>();
  });
});
