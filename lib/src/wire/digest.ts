import { hash, timingSafeEqual } from 'node:crypto';

/** 32 bytes. */
export type Digest = Uint8Array;

/** Of the UTF-8 bytes of the text. */
export function sha256(text: string): Digest {
  return hash('sha256', text, 'buffer');
}

/** The digest written as 64 hexadecimal digits; undefined when it is not. */
export function parseDigest(hex: string): Digest | undefined {
  return /^[0-9a-f]{64}$/i.test(hex) ? Uint8Array.from(Buffer.from(hex, 'hex')) : undefined;
}

/** Takes equally long whatever the bytes are. */
export function equalDigests(a: Digest, b: Digest): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
