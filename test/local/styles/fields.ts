// What only the decorators of ECMAScript can be put on.
import type { Transactional } from 'settle/local';
import type { Notes } from './orders.ts';

export function fieldsOn(notes: Notes, Transactional: Transactional) {
  return class Fields {
    @Transactional
    held = async (value: string): Promise<string> => {
      await notes.insert(value);
      return notes.tx.required().label;
    };

    @Transactional({ propagation: 'mandatory' })
    heldWithin = async (): Promise<string> => await Promise.resolve(notes.tx.required().label);

    @Transactional
    async #secret(): Promise<string> {
      return await Promise.resolve(notes.tx.required().label);
    }

    async secret(): Promise<string> {
      return await this.#secret();
    }
  };
}

export function accessorOn(Transactional: Transactional): unknown {
  class Accessor {
    // @ts-expect-error -- what is set later would escape it
    @Transactional
    accessor value = async (): Promise<void> => {};
  }
  return Accessor;
}
