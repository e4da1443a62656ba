/** Standard Webhooks signatures (https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`, scheme v1. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Brand } from '../util/brand.ts';
import { SettleError } from '../util/errors.ts';

/** A key of 24 to 64 bytes that passed {@link parseSecret}. */
export type SigningSecret = Brand<Uint8Array, 'SigningSecret'>;

export interface Signed {
  /** `webhook-id` */
  readonly id: string;
  /** `webhook-timestamp`: seconds since 1970. */
  readonly timestamp: string;
  readonly body: string;
}

/** The same as it came in, where anything but the body may be missing. */
export interface Received {
  readonly id: string | undefined;
  readonly timestamp: string | undefined;
  readonly signature: string | undefined;
  readonly body: string;
}

export type Verification =
  | { readonly kind: 'valid' }
  /** `reason` is for logs; answers to the outside say no more than that the signature is not valid. */
  | { readonly kind: 'invalid'; readonly reason: string };

export const signatureToleranceMsDefault = 300_000;

/** Reads `whsec_` and base64 of 24 to 64 bytes. Throws `config_invalid`, without the secret in its text. */
export function parseSecret(text: string): SigningSecret {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  const key = encoded === undefined ? undefined : Buffer.from(encoded, 'base64');
  if (key === undefined || key.toString('base64') !== padded(encoded ?? '')) {
    throw invalidSecret('a signing secret is whsec_ and base64');
  }
  if (key.length < 24 || key.length > 64)
    throw invalidSecret(`a signing secret has 24 to 64 bytes, not ${key.length}`);
  return key as Uint8Array as SigningSecret;
}

/** The value of `webhook-signature`: one signature for each secret, so that the receiver may hold either in a rotation. */
export function sign(secrets: readonly SigningSecret[], { id, timestamp, body }: Signed): string {
  const content = `${id}.${timestamp}.${body}`;
  return secrets.map((secret) => `v1,${digest(secret, content).toString('base64')}`).join(' ');
}

/**
 * Whether one of the signatures was made with one of the secrets, over this very id, timestamp and body, and not longer
 * ago (or further ahead) than the tolerance. Compares in constant time. It does not remember ids: a repeat within the
 * tolerance is valid, and the barrier's business.
 */
export function verify(
  secrets: readonly SigningSecret[],
  received: Received,
  {
    nowMs,
    toleranceMs = signatureToleranceMsDefault,
  }: { readonly nowMs: number; readonly toleranceMs?: number },
): Verification {
  const { id, timestamp, body, signature } = received;
  if (id === undefined || timestamp === undefined || signature === undefined)
    return invalid('it is not signed');
  if (id === '' || id.includes('.')) return invalid('webhook-id is empty or contains a dot');
  if (!/^\d{1,12}$/.test(timestamp)) return invalid('webhook-timestamp is not a number of seconds');
  if (signature.length > signatureLengthMax) return invalid('webhook-signature is too long');
  if (Math.abs(nowMs - Number(timestamp) * 1_000) > toleranceMs) {
    return invalid('webhook-timestamp is too far from now; it is a replay, or the clocks differ');
  }
  const content = `${id}.${timestamp}.${body}`;
  const expected = secrets.map((secret) => digest(secret, content));
  for (const candidate of signature.split(' ')) {
    const [version, encoded] = candidate.split(',', 2);
    if (version !== 'v1' || encoded === undefined) continue;
    const given = Buffer.from(encoded, 'base64');
    // Every secret is tried, so that the time taken does not tell which one fitted.
    let fits = false;
    for (const one of expected) fits = (given.length === one.length && timingSafeEqual(given, one)) || fits;
    if (fits) return { kind: 'valid' };
  }
  return invalid('no signature fits a secret');
}

/** Room for a dozen signatures; more than that only costs time. */
const signatureLengthMax = 1_024;

function digest(secret: SigningSecret, content: string): Buffer {
  return createHmac('sha256', secret).update(content).digest();
}

function padded(encoded: string): string {
  return encoded.replace(/=+$/, '').padEnd(Math.ceil(encoded.replace(/=+$/, '').length / 4) * 4, '=');
}

function invalid(reason: string): Verification {
  return { kind: 'invalid', reason };
}

function invalidSecret(what: string): SettleError {
  return new SettleError('config_invalid', what, {
    next: `Make one with: node -e "console.log('whsec_' + require('crypto').randomBytes(32).toString('base64'))"`,
  });
}
