/** What a scope does about a transaction that is there already. The words and their meaning are Spring's. */
export type Propagation =
  | 'required'
  | 'requiresNew'
  | 'nested'
  | 'supports'
  | 'mandatory'
  | 'notSupported'
  | 'never';

/**
 * - `begin`: a transaction of its own. `join`: part of the one that is there. `savepoint`: part of it, undone alone.
 * - `outside`: no transaction; one that is there is suspended.
 * - `missing`, `forbidden`: an error.
 */
export type Participation = 'begin' | 'join' | 'savepoint' | 'outside' | 'missing' | 'forbidden';

interface Row {
  readonly within: Participation;
  readonly alone: Participation;
}

/** https://docs.spring.io/spring-framework/reference/data-access/transaction/declarative/tx-propagation.html */
const table = {
  required: { within: 'join', alone: 'begin' },
  requiresNew: { within: 'begin', alone: 'begin' },
  nested: { within: 'savepoint', alone: 'begin' },
  supports: { within: 'join', alone: 'outside' },
  mandatory: { within: 'join', alone: 'missing' },
  notSupported: { within: 'outside', alone: 'outside' },
  never: { within: 'forbidden', alone: 'outside' },
} satisfies Record<Propagation, Row>;

export const propagations = Object.keys(table) as readonly Propagation[];

export function participation(propagation: Propagation, isWithin: boolean): Participation {
  return table[propagation][isWithin ? 'within' : 'alone'];
}
