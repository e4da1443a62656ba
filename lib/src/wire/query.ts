/** Query strings, checked by the same kind of schema as bodies. */
import { SettleError, type InputIssue } from '../util/errors.ts';
import * as s from './schema.ts';

export const queryCharactersMax = 4_096;

/**
 * Reads `a=1&b=x,y` by the types of the schema's members: integers, `true` and `false`, text, and lists of text,
 * which may be repeated or separated by commas. Everything else may stand once.
 * Throws `invalid_request` with an issue for each fault.
 */
export function parseQuery<T>(text: string, schema: s.ObjectSchema<T>): T {
  if (text.length > queryCharactersMax) {
    throw new SettleError('invalid_request', `the query is longer than ${queryCharactersMax} characters`);
  }
  const found: Record<string, unknown> = {};
  const issues: InputIssue[] = [];
  for (const [key, value] of new URLSearchParams(text)) {
    const member = schema.members.get(key);
    if (member === undefined) {
      if (issues.length < s.issuesMax)
        issues.push({ path: s.pointerTo(key.slice(0, 64)), message: 'is not a known parameter' });
      continue;
    }
    const before = found[key];
    if (typeOf(member.schema) === 'array')
      found[key] = [...(Array.isArray(before) ? (before as unknown[]) : []), ...value.split(',')];
    else if (before !== undefined) issues.push({ path: s.pointerTo(key), message: 'stands twice' });
    else found[key] = readAs(typeOf(member.schema), value);
  }
  const parsed = s.parse(schema, found);
  if (parsed.kind === 'valid' && issues.length === 0) return parsed.value;
  const all = parsed.kind === 'valid' ? issues : [...issues, ...parsed.issues];
  throw new SettleError('invalid_request', `the query is not valid: ${summaryOf(all)}`, {
    issues: all.slice(0, s.issuesMax),
    next: 'Correct the parameters named in `issues`',
  });
}

/** Issues in one line, for the detail of an error. */
export function summaryOf(issues: readonly InputIssue[]): string {
  const first = issues[0];
  if (first === undefined) return 'no issue';
  const more = issues.length === 1 ? '' : ` (and ${issues.length - 1} more)`;
  return `${first.path === '' ? 'the whole' : first.path} ${first.message}${more}`;
}

const types = new WeakMap<s.Schema<unknown>, unknown>();

function typeOf(schema: s.Schema<unknown>): unknown {
  let type = types.get(schema);
  if (type === undefined) {
    type = schema.print((_, named) => named.print(() => ({})))['type'];
    types.set(schema, type);
  }
  return type;
}

/** What does not read as its type stays text, which the schema then refuses. */
function readAs(type: unknown, value: string): unknown {
  if (type === 'integer') return /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  if (type === 'boolean') return value === 'true' ? true : value === 'false' ? false : value;
  return value;
}
