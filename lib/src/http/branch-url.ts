/**
 * Reads the URL of a branch, and refuses every spelling that two parsers could read differently (S4): only a URL whose
 * host is written exactly as the WHATWG parser gives it back passes.
 */

export type BranchUrl =
  | {
      readonly kind: 'url';
      readonly origin: string;
      readonly scheme: 'http' | 'https';
      /** Lower case, without port; IPv6 in brackets. */
      readonly hostname: string;
      readonly port: number;
      /** Path and query. */
      readonly path: string;
    }
  | { readonly kind: 'rejected'; readonly reason: string };

export const branchUrlLengthMax = 2_048;

export function parseBranchUrl(text: string): BranchUrl {
  const reason = whyNotPlain(text);
  if (reason !== undefined) return rejected(reason);
  const scheme = text.startsWith('https://') ? 'https' : text.startsWith('http://') ? 'http' : undefined;
  if (scheme === undefined) return rejected('it does not start with http:// or https://');
  const authority = /^[^/?]*/.exec(text.slice(scheme.length + 3))?.[0] ?? '';
  if (authority.includes('@')) return rejected('it carries a user name or password');
  if (!URL.canParse(text)) return rejected('it is not a URL');
  const { origin, hostname, host, port, pathname, search } = new URL(text);
  const defaultPort = scheme === 'https' ? 443 : 80;
  if (authority !== host && authority !== `${hostname}:${defaultPort}`) {
    return rejected(`its host is not written plainly; if you mean ${host}, write that`);
  }
  if (!/^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(hostname))
    return rejected('its host is not a name or an IP address');
  if (hostname.endsWith('.')) return rejected('its host ends in a dot');
  return {
    kind: 'url',
    origin,
    scheme,
    hostname,
    port: port === '' ? defaultPort : Number(port),
    path: pathname + search,
  };
}

function whyNotPlain(text: string): string | undefined {
  if (text.length > branchUrlLengthMax) return `it is longer than ${branchUrlLengthMax} characters`;
  // Anything else the URL parser would strip, fold or encode: the host as it stands must be the host that is meant.
  if (!/^[\x21-\x7e]*$/.test(text))
    return 'it contains a space, a control character or one that is not ASCII';
  if (text.includes('\\')) return 'it contains a backslash';
  if (text.includes('#')) return 'it contains a fragment';
  return undefined;
}

function rejected(reason: string): BranchUrl {
  return { kind: 'rejected', reason };
}
