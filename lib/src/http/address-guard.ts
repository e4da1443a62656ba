/**
 * Refuses connections to addresses a name should never lead to: private, link-local, loopback, metadata (S2).
 *
 * It looks at the very address the socket is about to use, inside the socket's own `lookup`; there is no second
 * resolution between check and use that could give another answer (S3).
 */
import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { SettleError } from '../util/errors.ts';

export interface AddressGuard {
  /** Why this IP address may not be connected to; undefined when it may. */
  whyBlocked(ip: string): string | undefined;
}

/** The code of the error a guarded lookup or connection fails with. */
export const blockedAddressCode = 'SETTLE_BLOCKED_ADDRESS';

/**
 * Blocks every address that is not public, save those named.
 *
 * @param allow networks that are reachable all the same, as CIDR, for example `10.20.0.0/16` or `127.0.0.0/8`. Default
 *   none. Throws `config_invalid` for one that cannot be read.
 */
export function blockPrivateAddresses(allow: readonly string[] = []): AddressGuard {
  const blocked = blockListOf(notPublic);
  const allowed = blockListOf(allow);
  return {
    whyBlocked(ip) {
      if (isIP(ip) === 0) return `${ip} is not an IP address`;
      const v4 = embeddedV4(ip);
      const address = v4 ?? ip;
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (!blocked.check(address, family) || allowed.check(address, family)) return undefined;
      return `${ip} is not a public address, and not in the networks allowed besides`;
    },
  };
}

// https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 sibling.
const notPublic = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '3fff::/20',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
];

type Lookup = (
  hostname: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
) => void;

/** A `lookup` for sockets that fails when any of a name's addresses is blocked, and hands over the ones it checked. */
export function guardedLookup(guard: AddressGuard, lookup: Lookup = dnsLookup): Lookup {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, []);
      const addresses = typeof found === 'string' ? [{ address: found, family: isIP(found) }] : found;
      for (const { address } of addresses) {
        const why = guard.whyBlocked(address);
        if (why !== undefined) return callback(new BlockedAddressError(`${hostname}: ${why}`), []);
      }
      const [first] = addresses;
      if (options.all === true) return callback(null, addresses);
      if (first === undefined) return callback(new BlockedAddressError(`${hostname} has no address`), []);
      callback(null, first.address, first.family);
    });
  };
}

export class BlockedAddressError extends Error {
  override readonly name = 'BlockedAddressError';
  readonly code = blockedAddressCode;
}

/** The host of an origin when it is an IP address: sockets do not look those up, so they are checked beforehand. */
export function literalAddress(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? undefined : bare;
}

/** The IPv4 address inside an IPv4-mapped, -compatible or NAT64 IPv6 address: that is where packets end up. */
function embeddedV4(ip: string): string | undefined {
  if (!isIPv6(ip)) return undefined;
  const groups = groupsOf(ip);
  const [high = 0, low = 0] = groups.slice(6);
  const prefix = groups.slice(0, 6).join(':');
  const isSpecial = groups.slice(0, 7).every((group) => group === 0) && low <= 1;
  const holdsV4 =
    prefix === '0:0:0:0:0:65535' ||
    prefix === '100:65435:0:0:0:0' ||
    (prefix === '0:0:0:0:0:0' && !isSpecial);
  return holdsV4 ? `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}` : undefined;
}

/** The eight groups of an IPv6 address as numbers. */
function groupsOf(ip: string): number[] {
  // WHATWG URL writes every form in one: compressed hexadecimal groups. A zone (`%eth0`) is no part of the address.
  const canonical = new URL(`http://[${ip.split('%')[0] ?? ip}]/`).hostname.slice(1, -1);
  const [left = '', right] = canonical.split('::');
  if (right === undefined) return readGroups(left);
  const [before, after] = [readGroups(left), readGroups(right)];
  return [...before, ...Array.from<number>({ length: 8 - before.length - after.length }).fill(0), ...after];
}

function readGroups(part: string): number[] {
  return part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits = ''] = network.split('/');
    const family = isIP(address);
    const prefix = Number(bits);
    if (family === 0 || !/^\d{1,3}$/.test(bits) || prefix > (family === 4 ? 32 : 128)) {
      throw new SettleError('config_invalid', `${JSON.stringify(network)} is not a network`, {
        next: 'Write it as CIDR, for example 10.20.0.0/16',
      });
    }
    list.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}
