/** What the text of a statement says about transactions and sessions. It looks at the beginning only: it is no parser. */
import { SettleError } from '../util/errors.ts';
import type { Dialect } from './dialect.ts';

const leading = /^(?:[\s;]+|(?:--|#)[^\n]*\n|\/\*(?!!)[\s\S]*?\*\/)*/;

const control =
  /^(?:begin\b(?!\s+not\b)|start\s+transaction|commit|end\b|rollback|abort\b|savepoint|release\b|prepare\s+transaction|set\s+(?:session\s+)?(?:transaction\b|autocommit|@@autocommit|session\s+characteristics)|xa\s)/i;

/** What stays with the session after the transaction. */
const sessionState = new RegExp(
  [
    /^(?:set\s+(?!local\b|constraints\b|transaction\b)|listen\b|prepare\s|use\s|load\b|call\s|do\s)/,
    /^declare\s[\s\S]*\bwith\s+hold\b/,
    /^create\s+(?:or\s+replace\s+)?(?:(?:global|local)\s+)?temp/,
    // Those of MySQL. With a mode they are PostgreSQL's, and end with the transaction.
    /^lock\s+tables?\b(?![\s\S]*\bin\s[\w\s]+\bmode\b)/,
    // What set_config() sets ends with the transaction where its third argument is true.
    /^select[\s\S]*(?:\b(?:pg_(?:try_)?advisory_lock|get_lock\b|into\s+temp|set_config\s*\((?![^()]*,\s*true\s*\)))|@\w+\s*:=)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'i',
);

/** Statements longer than that are not looked through to their end. */
const lookedAtMax = 4_096;

/** Throws `statement_refused` for what would begin or end a transaction behind the manager's back. */
export function refuseTransactionControl(text: string, label: string): void {
  if (!mayControl(text)) return;
  const start = text.slice(0, lookedAtMax).replace(leading, '');
  if (!control.test(start)) return;
  throw new SettleError(
    'statement_refused',
    `${label}: "${start.slice(0, 40)}" would begin or end a transaction`,
    {
      next: 'Use run() with propagation nested or requiresNew, setRollbackOnly(), or throw',
    },
  );
}

/** Whether the session may be another one afterwards, so that nobody else should get the connection. */
export function leavesSessionState(text: string, database: Dialect['name']): boolean {
  if (!maySetState(text)) return false;
  const start = text.slice(0, lookedAtMax).replace(leading, '');
  // MySQL's LOCAL is another word for SESSION; PostgreSQL's ends with the transaction.
  return sessionState.test(start) || (database === 'mysql' && /^set\s+local\b/i.test(start));
}

// The common statements are told by their first letters, without a copy of the text.
function mayControl(text: string): boolean {
  const first = text.charCodeAt(0) | 32;
  // i, u, d, w: insert, update, delete, with; select is s.
  return first !== 105 && first !== 117 && first !== 119 && !startsWithSelect(text);
}

function maySetState(text: string): boolean {
  const first = text.charCodeAt(0) | 32;
  return first !== 105 && first !== 119 && (first !== 117 || /^use/i.test(text));
}

function startsWithSelect(text: string): boolean {
  return (
    (text.charCodeAt(0) | 32) === 115 &&
    (text.charCodeAt(2) | 32) === 108 &&
    (text.charCodeAt(1) | 32) === 101
  );
}
