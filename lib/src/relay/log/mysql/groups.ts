/**
 * Which transactions of the binary log inserted into the outbox, and when they are committed.
 *
 * - M1 What was written in an XA branch is in the log when the branch is prepared, under locks until XA COMMIT: it counts then.
 * - M2 What cannot be read (a statement that names the table, anything compressed, a branch prepared before we read) counts
 *   as an insert of an unknown row.
 */
import { type BinlogEvent, firstKey, type RowKey, xidIn } from './events.ts';

export type Outcome =
  | { readonly kind: 'nothing' }
  /** A transaction has ended that is none of ours, or not yet. */
  | { readonly kind: 'passed' }
  /** One has committed that inserted; undefined where the row is unknown. */
  | { readonly kind: 'committed'; readonly row: RowKey | undefined };

/** Prepared branches that are remembered; of the oldest beyond them, the row is unknown. */
export const branchesMax = 10_000;

const nothing: Outcome = { kind: 'nothing' };
const passed: Outcome = { kind: 'passed' };

export class Groups {
  readonly #isOurs: (schema: string, name: string) => boolean;
  readonly #names: RegExp;
  /** Of this group: the types of the columns, by the number the log gives the table. */
  readonly #tables = new Map<number, Uint8Array>();
  /** Undefined: nothing was inserted so far. */
  #inserted: { readonly row: RowKey | undefined } | undefined;
  #isAlone = false;
  readonly #branches = new Map<string, RowKey | undefined>();

  /** `table` of `schema`; names are compared as those of tables are on any system. */
  constructor(schema: string, table: string) {
    const [ownSchema, ownTable] = [schema.toLowerCase(), table.toLowerCase()];
    this.#isOurs = (inSchema, name) =>
      inSchema.toLowerCase() === ownSchema && name.toLowerCase() === ownTable;
    this.#names = new RegExp(String.raw`(?<![\w$])${ownTable}(?![\w$])`, 'i');
  }

  next(event: BinlogEvent): Outcome {
    switch (event.kind) {
      case 'group':
        this.#begin(event.isAlone);
        return nothing;
      case 'table':
        if (this.#isOurs(event.schema, event.name)) this.#tables.set(event.id, event.types);
        return nothing;
      case 'insert': {
        const types = this.#tables.get(event.table);
        if (types !== undefined) this.#inserted ??= { row: event.rows && firstKey(event.rows, types) };
        return nothing;
      }
      case 'statement':
        return this.#statement(event.text);
      case 'commit':
        return this.#end();
      case 'prepare':
        return event.isOnePhase ? this.#end() : this.#prepare(event.xid);
      case 'sealed':
        this.#inserted = { row: undefined };
        return this.#end();
      case 'rotate':
      case 'other':
        return nothing;
    }
  }

  #statement(text: string | undefined): Outcome {
    const [word = '', second = ''] = text?.toLowerCase().split(/\s+/, 2) ?? [];
    if (word === 'begin') {
      this.#begin(false);
      return nothing;
    }
    if (word === 'commit') return this.#end();
    if (word === 'rollback' && second !== 'to') {
      this.#begin(false);
      return passed;
    }
    if (word === 'xa' && text !== undefined) return this.#branch(second, text);
    if (text === undefined || this.#names.test(text)) this.#inserted ??= { row: undefined };
    return this.#isAlone ? this.#end() : nothing;
  }

  #branch(what: string, text: string): Outcome {
    if (what !== 'commit' && what !== 'rollback') return nothing;
    const xid = xidIn(text) ?? '';
    const isKnown = this.#branches.has(xid);
    const row = this.#branches.get(xid);
    this.#branches.delete(xid);
    this.#begin(false);
    return what === 'rollback' ? passed : isKnown && row === undefined ? passed : { kind: 'committed', row };
  }

  #prepare(xid: string): Outcome {
    const [oldest] = this.#branches.keys();
    if (this.#branches.size >= branchesMax && oldest !== undefined) this.#branches.delete(oldest);
    // A branch that wrote nothing of ours is known as well: its end wakes nobody.
    if (this.#inserted === undefined) this.#branches.set(xid, undefined);
    else if (this.#inserted.row !== undefined) this.#branches.set(xid, this.#inserted.row);
    this.#begin(false);
    return passed;
  }

  #end(): Outcome {
    const inserted = this.#inserted;
    this.#begin(false);
    return inserted === undefined ? passed : { kind: 'committed', row: inserted.row };
  }

  #begin(isAlone: boolean): void {
    this.#tables.clear();
    this.#inserted = undefined;
    this.#isAlone = isAlone;
  }
}
