/** What customers want, one order after the other, from a seed. Order `n` of a seed is always the same. */
import { between, createDice, pick, type Dice } from './dice.ts';
import type { Product, World } from './world.ts';

export type DemoPattern = 'saga' | 'tcc' | 'message';

export const demoPatterns: readonly DemoPattern[] = ['saga', 'tcc', 'message'];

export interface Order {
  /** Counts from 1; part of the gid. */
  readonly sequence: number;
  readonly customer: number;
  readonly lines: readonly OrderLine[];
  readonly totalCents: number;
  readonly how: How;
}

export interface OrderLine {
  readonly sku: string;
  readonly quantity: number;
}

/** Which pattern carries the order, and what its initiator does wrong. */
export type How =
  | { readonly pattern: 'saga' }
  /** `changesMind`: aborts although everything was tried. */
  | { readonly pattern: 'tcc'; readonly changesMind: boolean }
  /** `dies`: the producer goes away before or after its local transaction, so that only the check-back can tell. */
  | { readonly pattern: 'message'; readonly dies: 'never' | 'before-commit' | 'after-commit' };

export function orderAt(world: World, seed: number, sequence: number): Order {
  const dice = createDice(seed, 'order', sequence);
  const lines = linesOf(dice, world.products);
  const totalCents = lines.reduce((sum, { product, quantity }) => sum + product.priceCents * quantity, 0);
  return {
    sequence,
    customer: pick(dice, world.customers).id,
    lines: lines.map(({ product, quantity }) => ({ sku: product.sku, quantity })),
    totalCents,
    how: howOf(dice),
  };
}

function linesOf(
  dice: Dice,
  products: readonly Product[],
): readonly { product: Product; quantity: number }[] {
  const lines = new Map<Product, number>();
  const count = pick(dice, [1, 1, 1, 2, 2, 3]);
  while (lines.size < count) {
    const product = pick(dice, products);
    // Nobody buys four bicycles.
    lines.set(product, product.priceCents > 100_00 ? 1 : between(dice, 1, 4));
  }
  return [...lines].map(([product, quantity]) => ({ product, quantity }));
}

function howOf(dice: Dice): How {
  const pattern = dice();
  const trouble = dice();
  if (pattern < 0.45) return { pattern: 'saga' };
  if (pattern < 0.8) return { pattern: 'tcc', changesMind: trouble < 0.04 };
  return {
    pattern: 'message',
    dies: trouble < 0.06 ? 'before-commit' : trouble < 0.12 ? 'after-commit' : 'never',
  };
}
