/**
 * Reads an absolute http(s) URL, and refuses every spelling that two parsers could read differently: user information,
 * backslashes, control characters, a host that the WHATWG parser gives back otherwise than it stands. Every such
 * difference is a way round an allow-list.
 */

export interface PlainUrl {
  readonly kind: 'url';
  readonly origin: string;
  readonly scheme: 'http' | 'https';
  /** Lower case, without port; IPv6 in brackets. */
  readonly hostname: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
}

export interface NotPlain {
  readonly kind: 'rejected';
  /** Completes a sentence about the URL: `contains a backslash`. */
  readonly reason: string;
}

export const plainUrlCharactersMax = 2_048;

export function parsePlainUrl(text: string): PlainUrl | NotPlain {
  const url = known.get(text) ?? read(text);
  if (url.kind === 'url') remember(text, url);
  return url;
}

/** Why this text is none; undefined when it is one. */
export function whyNotPlainUrl(text: string): string | undefined {
  const url = parsePlainUrl(text);
  return url.kind === 'rejected' ? url.reason : undefined;
}

function read(text: string): PlainUrl | NotPlain {
  const reason = whyNotPlainText(text);
  if (reason !== undefined) return rejected(reason);
  const scheme = text.startsWith('https://') ? 'https' : text.startsWith('http://') ? 'http' : undefined;
  if (scheme === undefined) return rejected('does not start with http:// or https://');
  const authority = /^[^/?]*/.exec(text.slice(scheme.length + 3))?.[0] ?? '';
  if (authority.includes('@')) return rejected('carries a user name or password');
  if (!URL.canParse(text)) return rejected('is not a URL');
  const { origin, hostname, host, port, pathname, search } = new URL(text);
  const defaultPort = scheme === 'https' ? 443 : 80;
  if (authority !== host && authority !== `${hostname}:${defaultPort}`) {
    return rejected(`has a host that is not written plainly; if ${host} is meant, write that`);
  }
  if (!/^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(hostname))
    return rejected('has a host that is neither a name nor an IP address');
  if (hostname.endsWith('.')) return rejected('has a host that ends in a dot');
  const path = pathname + search;
  return { kind: 'url', origin, scheme, hostname, port: port === '' ? defaultPort : Number(port), path };
}

/** Anything else the URL parser would strip, fold or encode: the host as it stands must be the host that is meant. */
function whyNotPlainText(text: string): string | undefined {
  if (text.length > plainUrlCharactersMax) return `is longer than ${plainUrlCharactersMax} characters`;
  if (!/^[\x21-\x7e]*$/.test(text)) return 'contains a space, a control character or one that is not ASCII';
  if (text.includes('\\')) return 'contains a backslash';
  if (text.includes('#')) return 'contains a fragment';
  return undefined;
}

function rejected(reason: string): NotPlain {
  return { kind: 'rejected', reason };
}

// The same few come with every submit; reading one costs more than all other checks of a request.
const known = new Map<string, PlainUrl>();
const knownMax = 1_000;

function remember(text: string, url: PlainUrl): void {
  if (known.size >= knownMax && !known.has(text)) known.clear();
  known.set(text, url);
}
