/** What must hold of a barrier, said without rows: one branch, its operations, and what they come to in which order. */
import type { Op } from '../../lib/src/core/outcome.ts';

export type CameTo = 'done' | 'refused' | 'error';

/** One call, and how its work ends. */
export interface ModelCall {
  readonly op: Op;
  /** It is written down before that it begins. */
  readonly begin: boolean;
  /** Work does its part; or refuses; or fails, with its part done already. */
  readonly work: 'does' | 'refuses' | 'fails';
}

export type Undoing = 'compensate' | 'cancel';

type State =
  | 'none'
  | 'begun'
  | 'done'
  | 'refused'
  | 'confirmed'
  | 'undone'
  /** Begun, died, and undone: unlike what was done, it is refused from now on. */
  | 'turned-back'
  | 'suspended';

export class BarrierModel {
  /** What took effect, in order. */
  effects: readonly Op[] = [];
  #state: State = 'none';
  readonly #undo: Undoing;

  constructor(undo: Undoing) {
    this.#undo = undo;
  }

  copy(): BarrierModel {
    const copy = new BarrierModel(this.#undo);
    copy.become(this);
    return copy;
  }

  /** As if nothing had come since that copy was made. */
  become(copy: BarrierModel): void {
    this.#state = copy.#state;
    this.effects = copy.effects;
  }

  /** Of an action or try; nothing for other operations. */
  begin(op: Op): void {
    if (op === firstOf(this.#undo) && this.#state === 'none') this.#state = 'begun';
  }

  call({ op, work }: ModelCall): CameTo {
    if (op === this.#undo) return this.#turnBack(work);
    return op === 'confirm' ? this.#confirm(work) : this.#act(op, work);
  }

  #act(op: Op, work: ModelCall['work']): CameTo {
    switch (this.#state) {
      case 'none':
      case 'begun':
        if (work === 'does') return this.#takes(op, 'done');
        if (work === 'fails') return 'error';
        this.#state = 'refused';
        return 'refused';
      case 'refused':
      case 'suspended':
      case 'turned-back':
        return 'refused';
      case 'done':
      case 'undone':
      case 'confirmed':
        return 'done';
    }
  }

  #turnBack(work: ModelCall['work']): CameTo {
    switch (this.#state) {
      case 'none':
        this.#state = 'suspended';
        return 'done';
      case 'begun':
        return work === 'does' ? this.#takes(this.#undo, 'turned-back') : 'error';
      case 'done':
        return work === 'does' ? this.#takes(this.#undo, 'undone') : 'error';
      case 'confirmed':
        return 'error';
      case 'refused':
      case 'suspended':
      case 'undone':
      case 'turned-back':
        return 'done';
    }
  }

  #confirm(work: ModelCall['work']): CameTo {
    if (this.#state === 'confirmed') return 'done';
    if (this.#state !== 'done' || work !== 'does') return 'error';
    return this.#takes('confirm', 'confirmed');
  }

  #takes(op: Op, state: State): CameTo {
    this.effects = [...this.effects, op];
    this.#state = state;
    return 'done';
  }
}

export function firstOf(undo: Undoing): 'action' | 'try' {
  return undo === 'cancel' ? 'try' : 'action';
}

/** What calls at the same time came to, each with its answer. */
export interface Observed {
  readonly calls: readonly { readonly call: ModelCall; readonly cameTo: CameTo }[];
  readonly effects: readonly Op[];
}

/** Whether the calls, one after the other in some order, come to the same: the barrier then has none of them half. */
export function isSomeOrder(undo: Undoing, { calls, effects }: Observed): boolean {
  return search(
    new BarrierModel(undo),
    calls.map(({ call, cameTo }) => ({ call, cameTo, isBegun: !call.begin })),
  );

  function search(
    model: BarrierModel,
    open: readonly { readonly call: ModelCall; readonly cameTo: CameTo; readonly isBegun: boolean }[],
  ): boolean {
    if (model.effects.some((op, at) => effects[at] !== op)) return false;
    if (open.length === 0) return model.effects.length === effects.length;
    return open.some((next, at) => {
      const after = model.copy();
      if (!next.isBegun) {
        after.begin(next.call.op);
        return search(after, open.with(at, { ...next, isBegun: true }));
      }
      return after.call(next.call) === next.cameTo && search(after, open.toSpliced(at, 1));
    });
  }
}
