import { messageOf } from '../util/errors.ts';
import { blockedAddressCode } from './address-guard.ts';
import type { HttpFailure } from './exchange.ts';

export interface Failure {
  readonly failure: HttpFailure;
  /** The connection never stood, so nothing of the request can have left. */
  readonly beforeSending: boolean;
  readonly detail: string;
}

/** What a transport's error means, by its code. */
export function failureOf(error: unknown): Failure {
  const code = codeOf(error);
  const known = code === undefined ? undefined : byCode.get(code);
  const detail = code === undefined ? messageOf(error) : `${code}: ${messageOf(error)}`;
  if (known !== undefined) return { ...known, detail };
  // llhttp's codes; undici passes its error on without one.
  if (code?.startsWith('HPE_') || (error instanceof Error && error.name === 'HTTPParserError'))
    return { failure: 'malformed', beforeSending: false, detail };
  // A handshake failed; every certificate error has a code of its own.
  if (code !== undefined && /^(ERR_(SSL|TLS)|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/.test(code)) {
    return { failure: 'tls', beforeSending: false, detail };
  }
  return { failure: 'other', beforeSending: false, detail };
}

const byCode = new Map<string, Omit<Failure, 'detail'>>([
  ['ECONNREFUSED', { failure: 'refused-connection', beforeSending: true }],
  ['EHOSTUNREACH', { failure: 'unreachable', beforeSending: false }],
  ['ENETUNREACH', { failure: 'unreachable', beforeSending: false }],
  ['EHOSTDOWN', { failure: 'unreachable', beforeSending: false }],
  [blockedAddressCode, { failure: 'blocked-address', beforeSending: true }],
  ['ENOTFOUND', { failure: 'dns', beforeSending: true }],
  ['EAI_AGAIN', { failure: 'dns', beforeSending: true }],
  ['EAI_FAIL', { failure: 'dns', beforeSending: true }],
  ['ENODATA', { failure: 'dns', beforeSending: true }],
  ['EPROTO', { failure: 'tls', beforeSending: false }],
  ['ETIMEDOUT', { failure: 'timeout', beforeSending: false }],
  ['UND_ERR_CONNECT_TIMEOUT', { failure: 'timeout', beforeSending: true }],
  ['ECONNRESET', { failure: 'reset', beforeSending: false }],
  ['EPIPE', { failure: 'reset', beforeSending: false }],
  ['UND_ERR_SOCKET', { failure: 'reset', beforeSending: false }],
  ['UND_ERR_HEADERS_OVERFLOW', { failure: 'malformed', beforeSending: false }],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', { failure: 'truncated', beforeSending: false }],
  ['UND_ERR_ABORTED', { failure: 'aborted', beforeSending: false }],
  ['UND_ERR_DESTROYED', { failure: 'aborted', beforeSending: false }],
  ['UND_ERR_CLOSED', { failure: 'aborted', beforeSending: false }],
]);

/** An error's own code, or the one its attempts on several addresses share. */
function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (!(error instanceof AggregateError)) return undefined;
  const codes = new Set(error.errors.map(codeOf));
  return codes.size === 1 ? [...codes][0] : undefined;
}
