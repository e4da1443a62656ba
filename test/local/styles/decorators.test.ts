// @Transactional, as the real compiler emits it for either kind of decorators.
import { describe, expect, it } from 'vitest';
import { transactional, type Transactional } from '../../../lib/src/local/transactional.ts';
import type { Transactions } from '../../../lib/src/local/transactions.ts';
import { nodeSqliteSubject } from '../node-sqlite-subject.ts';
import { outcomeOf, thrownBy, worldOf } from '../world.ts';
import { compiledWith } from './compiled.ts';
import type * as Fields from './fields.ts';
import type * as Orders from './orders.ts';

const subject = nodeSqliteSubject();
const { transactions, add, expectStored } = worldOf(subject);

interface OfTheTest {
  readonly notes: Orders.Notes;
  readonly tx: Transactions<unknown>;
  readonly Transactional: Transactional;
}

async function fresh(): Promise<OfTheTest> {
  const tx = await transactions();
  return { notes: { tx, insert: (value) => add(tx, value) }, tx, Transactional: transactional(tx) };
}

const ownTransactional: Orders.OwnTransactional = transactional(
  (self: { readonly tx: Transactions<unknown> }) => self.tx,
);

describe.each([
  ['the decorators of ECMAScript', false],
  ['experimentalDecorators', true],
])('@Transactional with %s', (_name, experimental) => {
  const compiled = compiledWith(experimental, 'orders.ts');

  async function orders(): Promise<OfTheTest & { readonly Orders: ReturnType<typeof Orders.ordersOn> }> {
    const made = await fresh();
    const { ordersOn } = (await compiled('orders')) as typeof Orders;
    return { ...made, Orders: ordersOn(made.notes, made.Transactional, ownTransactional) };
  }

  it('commits when the method returns, and passes on this, arguments and result', async () => {
    const { Orders } = await orders();
    expect(await new Orders().place(1)).toBe('Orders.place');
    await expectStored('order 1');
  });

  it('rolls back when the method throws, and throws the same', async () => {
    const { Orders } = await orders();
    const error = new Error('no');
    expect(await thrownBy(new Orders().place(1, error))).toBe(error);
    await expectStored();
  });

  it('makes one transaction of methods that call each other', async () => {
    const { Orders } = await orders();
    expect(await outcomeOf(new Orders().placeBoth(1, 1))).toContain('UNIQUE constraint failed');
    await expectStored();
    expect(await new Orders().placeBoth(1, 2)).toEqual(['Orders.place', 'Orders.place']);
    await expectStored('order 1', 'order 2');
  });

  it('takes the options of a scope', async () => {
    const { Orders, tx } = await orders();
    const thrown = await thrownBy(new Orders().placeWithin(1));
    expect(thrown.message).toBe('transaction_required: the label needs a transaction, and runs in none');
    expect(await tx.run(() => new Orders().placeWithin(1))).toBe('Orders.place');
  });

  it('labels a scope with the class of the instance, and a static method with its class', async () => {
    const { Orders } = await orders();
    class SpecialOrders extends Orders {}
    expect(await new SpecialOrders().place(1)).toBe('SpecialOrders.place');
    expect(await Orders.roles()).toBe('Orders.roles');
  });

  it('makes a method asynchronous that throws at once', async () => {
    const { Orders } = await orders();
    expect(await outcomeOf(new Orders().placeAtOnce(-1))).toBe('no such order');
  });

  it('keeps the name and the length of the method', async () => {
    const { Orders } = await orders();
    const place: unknown = Reflect.get(Orders.prototype, 'place');
    expect([Reflect.get(Object(place), 'name'), Reflect.get(Object(place), 'length')]).toEqual(['place', 2]);
  });

  it('asks a function for the transactions at each call, and gives it the instance', async () => {
    const { Orders } = await orders();
    expect(await new Orders().own()).toBe('Orders.own');
  });

  it('can be made before there are transactions', async () => {
    const { ordersOn } = (await compiled('orders')) as typeof Orders;
    const known: { tx?: Transactions<unknown> } = {};
    const late = transactional(() => {
      if (known.tx === undefined) throw new Error('too early');
      return known.tx;
    });
    const made = await fresh();
    const LateOrders = ordersOn(made.notes, late, ownTransactional);
    expect(await outcomeOf(new LateOrders().place(1))).toBe('too early');
    known.tx = made.tx;
    expect(await new LateOrders().place(1)).toBe('Orders.place');
  });

  it('says where a scope began that its method has left: in the line that called it', async () => {
    const { Orders, tx } = await orders();
    const seen: string[] = [];
    const OrdersThatTell = class extends Orders {
      override async place(id: number): Promise<string> {
        seen.push(tx.describe());
        return await super.place(id);
      }
    };
    await new OrdersThatTell().placeBoth(1, 2);
    expect(seen[0]).toContain('OrdersThatTell.placeBoth');
    expect(seen[0]).toContain('decorators.test.ts');
  });

  it('makes a promise of what a method without types returns', async () => {
    const { Orders } = await orders();
    expect(new Orders().sync()).toBeInstanceOf(Promise);
  });

  it.each(['a class', 'a getter', 'a field that holds no function', 'a propagation that does not exist'])(
    'refuses %s',
    async (what) => {
      const { misuses } = (await compiled('orders')) as typeof Orders;
      const { Transactional } = await fresh();
      expect(misuses(Transactional)[what]).toThrow(/^config_invalid: /);
    },
  );
});

describe('@Transactional on fields', () => {
  const compiled = compiledWith(false, 'orders.ts', 'fields.ts');

  async function fields(): Promise<OfTheTest & { readonly Fields: ReturnType<typeof Fields.fieldsOn> }> {
    const made = await fresh();
    const { fieldsOn } = (await compiled('fields')) as typeof Fields;
    return { ...made, Fields: fieldsOn(made.notes, made.Transactional) };
  }

  it('runs a function that a field holds in a transaction', async () => {
    const { Fields } = await fields();
    expect(await new Fields().held('value')).toBe('Fields.held');
    expect(await outcomeOf(new Fields().held('value'))).toContain('UNIQUE constraint failed');
    expect(await outcomeOf(new Fields().heldWithin())).toBe('transaction_required');
    await expectStored('value');
  });

  it('decorates private methods', async () => {
    const { Fields } = await fields();
    expect(await new Fields().secret()).toBe('Fields.#secret');
  });

  it('refuses an accessor: what is set later would escape it', async () => {
    const { accessorOn } = (await compiled('fields')) as typeof Fields;
    const { Transactional } = await fresh();
    expect(() => accessorOn(Transactional)).toThrow(
      'config_invalid: @Transactional is for methods, but value is',
    );
  });
});
