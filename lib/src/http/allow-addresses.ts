/** Which URLs may be called at all: nothing that no rule names (S1). */
import { SettleError } from '../util/errors.ts';
import { parsePlainUrl, type PlainUrl } from '../util/plain-url.ts';

export type AllowRule =
  /** Any port of this machine itself, http or https: `localhost`, `127.0.0.0/8`, `[::1]`. */
  | { readonly kind: 'loopback' }
  /** Exactly this host. */
  | ({ readonly kind: 'host'; readonly host: string } & AllowScope)
  /** Every host below this domain, not the domain itself. */
  | ({ readonly kind: 'below'; readonly domain: string } & AllowScope);

export interface AllowScope {
  /** Default `https`. */
  readonly scheme?: 'http' | 'https';
  /** Default: the scheme's. */
  readonly port?: number;
  /** Only paths equal to this or below it. Default: all. */
  readonly pathPrefix?: string;
}

/** Why this URL may not be called; undefined when it may. */
export type AddressCheck = (url: string) => string | undefined;

/**
 * Allows the URLs that at least one rule names, and no others: without rules, none.
 *
 * It judges the name in the URL, not where that name leads: give the exchange an `AddressGuard` for that.
 */
export function allowAddresses(rules: readonly AllowRule[]): AddressCheck {
  return (address) => {
    const url = parsePlainUrl(address);
    if (url.kind === 'rejected') return `the URL ${url.reason}`;
    if (rules.some((rule) => allows(rule, url))) return undefined;
    return `${url.origin} is not on the list of allowed addresses, or not with this path`;
  };
}

/**
 * Reads a rule as a configuration writes it: `loopback`, `https://stock.example.com:8443/api`, `https://*.example.com`.
 * Throws `config_invalid`.
 */
export function parseAllowRule(text: string): AllowRule {
  if (text === 'loopback') return { kind: 'loopback' };
  const wildcard = /^(https?:\/\/)\*\./.exec(text);
  const url = parsePlainUrl(wildcard === null ? text : text.replace('*.', ''));
  if (url.kind === 'rejected') {
    throw new SettleError('config_invalid', `${JSON.stringify(text)} allows nothing: it ${url.reason}`, {
      next: 'Write loopback, https://host:port/path or https://*.domain:port/path',
    });
  }
  const scope = { scheme: url.scheme, port: url.port, ...(url.path === '/' ? {} : { pathPrefix: url.path }) };
  return wildcard === null
    ? { kind: 'host', host: url.hostname, ...scope }
    : { kind: 'below', domain: url.hostname, ...scope };
}

function allows(rule: AllowRule, url: PlainUrl): boolean {
  switch (rule.kind) {
    case 'loopback':
      return isLoopback(url.hostname);
    case 'host':
      return url.hostname === rule.host.toLowerCase() && isWithin(rule, url);
    case 'below':
      return url.hostname.endsWith(`.${rule.domain.toLowerCase()}`) && isWithin(rule, url);
  }
}

function isWithin({ scheme = 'https', port, pathPrefix }: AllowScope, url: PlainUrl): boolean {
  if (url.scheme !== scheme || url.port !== (port ?? (scheme === 'https' ? 443 : 80))) return false;
  if (pathPrefix === undefined) return true;
  const path = url.path.split('?')[0] ?? '';
  // A server that decodes these would leave the prefix again: /api/..%2fadmin.
  if (/%(2f|5c|2e|25)/i.test(path)) return false;
  const prefix = pathPrefix.endsWith('/') ? pathPrefix.slice(0, -1) : pathPrefix;
  return path === prefix || path.startsWith(`${prefix}/`);
}

function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' || hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname)
  );
}
