// Random trees of scopes: what one looks like, and how it is drawn. Only trees whose outcome does not depend on who is faster
// are drawn; within that, everything may be anywhere.
import * as fc from 'fast-check';
import { propagations, type Propagation } from '../../lib/src/local/propagation.ts';

export interface ScopeNode {
  readonly propagation: Propagation;
  readonly steps: readonly Step[];
}

export type Step =
  | { readonly kind: 'insert'; readonly value: string }
  /** A statement that the database refuses. */
  | { readonly kind: 'refused'; readonly isCaught: boolean }
  | { readonly kind: 'throw' }
  /** Aborts the signal of the scope it stands in. */
  | { readonly kind: 'abort' }
  | { readonly kind: 'rollback-only' }
  /** Lets others go on. */
  | { readonly kind: 'pause' }
  | {
      readonly kind: 'scopes';
      readonly how: 'one' | 'parallel';
      readonly scopes: readonly ScopeNode[];
      readonly isCaught: boolean;
    };

export const depthMax = 5;

const isCaught = fc.boolean();
const plain: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Step>({ kind: 'insert', value: '' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'pause' }) },
);
const ending: fc.Arbitrary<Step> = fc.constantFrom<Step>(
  { kind: 'throw' },
  { kind: 'abort' },
  { kind: 'rollback-only' },
);
const refused = fc.record({ kind: fc.constant('refused' as const), isCaught });

function stepAt(depth: number): fc.Arbitrary<Step> {
  const leaves = [
    { weight: 6, arbitrary: plain },
    { weight: 1, arbitrary: ending },
    { weight: 1, arbitrary: refused },
  ];
  if (depth >= depthMax) return fc.oneof(...leaves);
  const one = fc.record({
    kind: fc.constant('scopes' as const),
    how: fc.constant('one' as const),
    scopes: fc.tuple(scopeAt(depth + 1, fc.constantFrom(...propagations))),
    isCaught,
  });
  const parallel = (scope: fc.Arbitrary<ScopeNode>) =>
    fc.record({
      kind: fc.constant('scopes' as const),
      how: fc.constant('parallel' as const),
      scopes: fc.array(scope, { minLength: 2, maxLength: 3 }),
      isCaught,
    });
  // Siblings that join share what they fail: they hold nothing whose fate would depend on who came first.
  const joining = fc.record({
    propagation: fc.constantFrom<Propagation>('required', 'mandatory'),
    steps: fc.array(fc.oneof({ weight: 4, arbitrary: plain }, { weight: 1, arbitrary: ending }), {
      maxLength: 3,
    }),
  });
  return fc.oneof(
    ...leaves,
    { weight: 3, arbitrary: one },
    { weight: 1, arbitrary: parallel(scopeAt(depth + 1, fc.constant('nested'))) },
    { weight: 1, arbitrary: parallel(scopeAt(depth + 1, fc.constant('requiresNew'))) },
    { weight: 1, arbitrary: parallel(joining) },
  );
}

function scopeAt(depth: number, propagation: fc.Arbitrary<Propagation>): fc.Arbitrary<ScopeNode> {
  return fc.record({ propagation, steps: fc.array(stepAt(depth), { maxLength: 4 }) });
}

/** A tree whose inserts all have values of their own. */
export const scopeTrees: fc.Arbitrary<ScopeNode> = scopeAt(1, fc.constantFrom(...propagations)).map(
  (scope) => {
    let count = 0;
    const named = (node: ScopeNode): ScopeNode => ({
      propagation: node.propagation,
      steps: node.steps.map((step) => {
        switch (step.kind) {
          case 'insert':
            return { kind: 'insert', value: `row ${++count}` };
          case 'scopes':
            return { ...step, scopes: step.scopes.map(named) };
          default:
            return step;
        }
      }),
    });
    return named(scope);
  },
);
