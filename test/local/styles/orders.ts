// A class as users write it. decorators.test.ts compiles it with either kind of decorators, and compares.
import type { Transactional, Transactions } from 'settle/local';

export interface Notes {
  readonly tx: Transactions<unknown>;
  readonly insert: (value: string) => Promise<void>;
}

/** Of a class that has its transactions itself. */
export type OwnTransactional = Transactional<{ readonly tx: Transactions<unknown> }>;

export function ordersOn(notes: Notes, Transactional: Transactional, Own: OwnTransactional) {
  class Orders {
    readonly tx: Transactions<unknown> = notes.tx;
    readonly #prefix = 'order';

    @Transactional
    async place(id: number, fails?: Error): Promise<string> {
      await notes.insert(`${this.#prefix} ${id}`);
      if (fails !== undefined) throw fails;
      return notes.tx.required().label;
    }

    @Transactional()
    async placeBoth(a: number, b: number): Promise<readonly string[]> {
      return [await this.place(a), await this.place(b)];
    }

    @Transactional({ propagation: 'mandatory', label: 'the label' })
    async placeWithin(id: number): Promise<string> {
      return await this.place(id);
    }

    @Transactional
    placeAtOnce(id: number): Promise<string> {
      if (id < 0) throw new Error('no such order');
      return this.place(id);
    }

    @Transactional
    async same<T>(value: T): Promise<T> {
      return await Promise.resolve(value);
    }

    @Transactional
    static async roles(): Promise<string> {
      return await Promise.resolve(notes.tx.required().label);
    }

    @Own
    async own(): Promise<string> {
      return await Promise.resolve(this.tx.required().label);
    }

    // @ts-expect-error -- decorated it would return a promise
    @Transactional
    sync(): number {
      return 1;
    }

    // @ts-expect-error -- decorated it would return a promise
    @Transactional({ propagation: 'nested' })
    syncToo(): void {}
  }
  return Orders;
}

/** What nobody can mean, each as the function that evaluates it. */
export function misuses(Transactional: Transactional): Record<string, () => unknown> {
  return {
    'a class': () => {
      // @ts-expect-error -- not for classes
      @Transactional
      class Whole {
        readonly name = 'whole';
      }
      return Whole;
    },
    'a getter': () => {
      class Getter {
        // @ts-expect-error -- not for accessors
        @Transactional
        get value(): Promise<void> {
          return Promise.resolve();
        }
      }
      return Getter;
    },
    'a field that holds no function': () => {
      class Field {
        // @ts-expect-error -- not for such fields
        @Transactional
        value = 1;
      }
      return new Field();
    },
    'a propagation that does not exist': () => {
      class Misspelled {
        // @ts-expect-error -- there is none of that name
        @Transactional({ propagation: 'always' })
        async place(): Promise<void> {}
      }
      return Misspelled;
    },
  };
}

/** The compiler refuses it; without a compiler, the call does. */
export function homeless(Own: OwnTransactional) {
  class Homeless {
    // @ts-expect-error -- it has no transactions
    @Own
    async place(): Promise<void> {}
  }
  return Homeless;
}
