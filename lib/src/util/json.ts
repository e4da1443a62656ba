/** Any JSON value. Payloads and results are opaque to Settle: carried, compared, never interpreted. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where two JSON values first differ, as a JSON Pointer (RFC 6901); undefined when they are equal. */
export function firstDifference(a: unknown, b: unknown, path = ''): string | undefined {
  if (a === b) return undefined;
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a.length !== b.length) return path || '/';
    for (let i = 0; i < a.length; i++) {
      const difference = firstDifference(a[i], b[i], `${path}/${i}`);
      if (difference !== undefined) return difference;
    }
    return undefined;
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return path || '/';
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const here = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (!Object.hasOwn(a, key) || !Object.hasOwn(b, key)) return here;
    const difference = firstDifference(a[key], b[key], here);
    if (difference !== undefined) return difference;
  }
  return undefined;
}
