/**
 * Which requests are let in, before who asks matters.
 *
 * - G1 The Host header must be a configured name, also on loopback: otherwise a web page could rebind its own name to
 *      127.0.0.1 and talk to us as the same origin.
 * - G2 A request with an Origin must come from the host it goes to, or from a configured origin.
 * - G3 A body must call itself application/json: what a page can send across origins without asking (a form, plain
 *      text) is refused.
 */
import { SettleError } from '../util/errors.ts';
import { headerOf, type ApiRequest } from './exchange.ts';

export interface GateOptions {
  /** Host names, without port, by which we may be called. Default: {@link loopbackHosts}. `any`: G1 is off. */
  readonly hosts?: readonly string[] | 'any';
  /** Origins of other sites whose pages may call us, for example `https://ops.example`. Default none. */
  readonly origins?: readonly string[];
}

export const loopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/** Throws `host_not_allowed` or `origin_not_allowed`. */
export type Gate = (request: ApiRequest) => void;

export function gate({ hosts = loopbackHosts, origins = [] }: GateOptions): Gate {
  const names = hosts === 'any' ? undefined : new Set(hosts.map((name) => hostNameOf(name)));
  const pages = new Set(origins.map((origin) => origin.toLowerCase()));
  return (request) => {
    const host = headerOf(request, 'host');
    if (names !== undefined && (host === undefined || !names.has(hostNameOf(host)))) {
      throw new SettleError('host_not_allowed', 'the Host header is not a name of this coordinator');
    }
    const origin = request.headers['origin'];
    if (origin === undefined) return;
    if (typeof origin !== 'string' || !(pages.has(origin.toLowerCase()) || isSameHost(origin, host))) {
      throw new SettleError('origin_not_allowed', 'the page that sent this may not call this coordinator');
    }
  };
}

/** Throws `unsupported_media_type` (G3). */
export function checkMediaType(request: ApiRequest): void {
  const type = headerOf(request, 'content-type');
  if (type === 'application/json') return;
  const [essence = '', ...parameters] = (type ?? '').toLowerCase().split(';');
  const odd = parameters.map((parameter) => parameter.trim()).filter((parameter) => parameter !== '');
  if (essence.trim() === 'application/json' && odd.every((parameter) => isUtf8(parameter))) return;
  throw new SettleError('unsupported_media_type', 'the body must be application/json in UTF-8');
}

function isUtf8(parameter: string): boolean {
  return parameter === 'charset=utf-8' || parameter === 'charset="utf-8"';
}

function isSameHost(origin: string, host: string | undefined): boolean {
  const scheme = origin.indexOf('://');
  return host !== undefined && scheme > 0 && origin.slice(scheme + 3).toLowerCase() === host.toLowerCase();
}

/** `[::1]:80` and `[::1]` are `[::1]`; `Localhost:80` is `localhost`. What is neither stays as it is, and unknown. */
function hostNameOf(host: string): string {
  const end = host.startsWith('[') ? host.indexOf(']') + 1 : host.indexOf(':');
  const isName = end <= 0 || (end < host.length && host.charAt(end) !== ':');
  return (isName ? host : host.slice(0, end)).toLowerCase();
}
