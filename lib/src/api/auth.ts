/** Who asks: API keys, sent as `Authorization: Bearer <key>` and in no other way. */
import { SettleError } from '../util/errors.ts';
import { equalDigests, parseDigest, sha256, type Digest } from '../wire/digest.ts';
import { headerOf, type ApiRequest } from './exchange.ts';

/** One key of the configuration. `name` becomes the `actor` of its actions. */
export type ApiKey =
  | { readonly name: string; readonly key: string }
  /** Of the key's UTF-8 text, 64 hexadecimal digits: the configuration need not hold the key itself. */
  | { readonly name: string; readonly sha256: string };

/** A shorter key could be guessed. */
export const keyCharactersMin = 16;

/** The name of whoever asks. Throws `unauthenticated`. */
export type Authenticate = (request: ApiRequest) => string;

/** The actor where no keys are configured: everybody who reaches us. */
export const anonymous = 'anonymous';

/**
 * Checks requests against these keys. With none of them everybody is {@link anonymous}; it is the server that then
 * refuses to listen beyond loopback. Throws `config_invalid`.
 */
export function authenticator(keys: readonly ApiKey[]): Authenticate {
  if (keys.length === 0) return () => anonymous;
  const known = keys.map((key) => ({ name: key.name, digest: digestOf(key) }));
  return (request) => {
    const token = bearerOf(headerOf(request, 'authorization'));
    if (token === undefined) throw unauthenticated('no API key was sent');
    const digest = sha256(token);
    let actor: string | undefined;
    // Every key is compared, so that the time says nothing of which one came close.
    for (const { name, digest: other } of known) if (equalDigests(digest, other)) actor ??= name;
    if (actor === undefined) throw unauthenticated('the API key is not known');
    return actor;
  };
}

function digestOf(key: ApiKey): Digest {
  const digest = 'key' in key ? sha256(key.key) : parseDigest(key.sha256);
  if (digest === undefined || key.name === '') {
    throw new SettleError('config_invalid', `the API key "${key.name}" is not usable`, {
      next: 'Give it a name, and its text as `key` or the 64 hexadecimal digits of its SHA-256 as `sha256`',
    });
  }
  if ('key' in key && key.key.length < keyCharactersMin) {
    throw new SettleError(
      'config_invalid',
      `the API key "${key.name}" is shorter than ${keyCharactersMin} characters`,
      {
        next: 'Use a random key, for example 32 hexadecimal digits',
      },
    );
  }
  return digest;
}

function bearerOf(header: string | undefined): string | undefined {
  if (header === undefined || header.slice(0, 7).toLowerCase() !== 'bearer ') return undefined;
  const token = header.slice(7).trim();
  return token === '' ? undefined : token;
}

function unauthenticated(what: string): SettleError {
  return new SettleError('unauthenticated', what);
}
