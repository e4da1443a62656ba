/** The shape of a branch's URL. Whether it may be called is asked of `BranchCaller.whyNotAllowed`, not here. */

export const addressCharactersMax = 2_048;

/**
 * Why this text is not an absolute http(s) URL that everybody reads alike; undefined when it is.
 * Parsers disagree on user info, trailing dots, backslashes, control characters and missing slashes, and every such
 * disagreement is a way round an allow-list, so none of them is taken.
 */
export function whyNotAddress(text: string): string | undefined {
  if (known.has(text)) return undefined;
  const fault = faultOf(text);
  if (fault === undefined) remember(text);
  return fault;
}

function faultOf(text: string): string | undefined {
  if (text.length > addressCharactersMax) return `has more than ${addressCharactersMax} characters`;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code === 0x7f || code === 0x5c)
      return 'holds a space, a control character or a backslash';
  }
  const lower = text.slice(0, 9).toLowerCase();
  const slashes = lower.startsWith('http://') ? 7 : lower.startsWith('https://') ? 8 : 0;
  if (slashes === 0) return 'must be an absolute URL that starts with http:// or https://';
  if (text.charAt(slashes) === '/' || !URL.canParse(text)) return 'is not a URL';
  const url = new URL(text);
  if (url.username !== '' || url.password !== '' || text.slice(slashes).split('/', 1)[0]?.includes('@')) {
    return 'holds user information; credentials do not belong into a URL';
  }
  if (url.hostname.endsWith('.')) return 'has a host that ends in a dot';
  if (url.hash !== '' || text.includes('#')) return 'has a fragment, which is never sent';
  return undefined;
}

// The same few addresses come with every submit; parsing a URL costs more than all other checks of a request.
const known = new Set<string>();
const knownMax = 1_000;

function remember(text: string): void {
  if (known.size >= knownMax) known.clear();
  known.add(text);
}
