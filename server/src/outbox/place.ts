/** Where an outbox is, as a URL says it. */
import type { Parsed } from '../config-option.ts';

export type OutboxPlace =
  | { readonly kind: 'postgres'; readonly url: string }
  | { readonly kind: 'mysql'; readonly url: string }
  | { readonly kind: 'sqlite'; readonly file: string };

export const placeShapes =
  'postgres://user:password@host:5432/database, mysql:// or mariadb:// likewise, or sqlite:<file>';

export function parseOutboxPlace(text: string): Parsed<OutboxPlace> {
  const [, scheme, rest = ''] = /^(\w+):(.*)$/s.exec(text) ?? [];
  if (scheme === 'sqlite' && rest !== '') return { kind: 'value', value: { kind: scheme, file: rest } };
  if (rest.startsWith('//') && rest.length > 2 && URL.canParse(text)) {
    if (scheme === 'postgres' || scheme === 'postgresql') {
      return { kind: 'value', value: { kind: 'postgres', url: text } };
    }
    if (scheme === 'mysql' || scheme === 'mariadb') {
      return { kind: 'value', value: { kind: 'mysql', url: `mysql:${rest}` } };
    }
  }
  return { kind: 'wrong', must: placeShapes };
}
