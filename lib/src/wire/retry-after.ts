import { headerValue, type IncomingHeaders } from './headers.ts';

/** Milliseconds from now that a `Retry-After` asks for, in seconds or as an HTTP date; what cannot be read counts as not given. */
export function readRetryAfter(headers: IncomingHeaders, nowMs: number): number | undefined {
  const text = headerValue(headers, 'retry-after')?.trim();
  if (text === undefined || text === '' || text.length > 64) return undefined;
  const askedMs = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isNaN(askedMs) ? undefined : askedMs;
}
