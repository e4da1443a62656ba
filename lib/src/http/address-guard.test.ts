import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { isSettleError } from '../util/errors.ts';
import { blockPrivateAddresses, blockedAddressCode, guardedLookup } from './address-guard.ts';

const guard = blockPrivateAddresses();

describe('blocking what is not public', () => {
  it.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '10.255.255.255',
    '100.64.0.1',
    '100.127.255.255',
    '127.0.0.1',
    '127.255.255.255',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.19.255.255',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:10.0.0.1',
    '::ffff:a9fe:a9fe',
    '::10.0.0.1',
    '64:ff9b::10.0.0.1',
    '64:ff9b::a9fe:a9fe',
    'fc00::1',
    'fdff::1',
    'fe80::1',
    'fe80::1%eth0',
    'febf::1',
    'ff02::1',
    '2001:db8::1',
    'not an address',
    '',
  ])('refuses %s', (ip) => {
    expect(guard.whyBlocked(ip)).toMatch(/./);
  });

  it.each([
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '::ffff:1.1.1.1',
    '64:ff9b::1.1.1.1',
  ])('lets %s through', (ip) => {
    expect(guard.whyBlocked(ip)).toBeUndefined();
  });

  it('lets through the networks it was given, and no others', () => {
    const own = blockPrivateAddresses(['10.20.0.0/16', 'fd12::/16', '::1/128']);
    expect(['10.20.3.4', '::ffff:10.20.3.4', 'fd12::9', '::1'].map((ip) => own.whyBlocked(ip))).toEqual(
      Array.from({ length: 4 }),
    );
    for (const ip of ['10.21.0.1', 'fd13::1', '127.0.0.1']) expect(own.whyBlocked(ip)).toMatch(/./);
  });

  it.each(['10.0.0.0', '10.0.0.0/33', '10.0.0/8', 'example.com/8', '/', '::/129', '10.0.0.0/ 8'])(
    'does not read %j as a network',
    (network) => {
      expect(() => blockPrivateAddresses([network])).toThrow(
        expect.toSatisfy((error) => isSettleError(error) && error.code === 'config_invalid'),
      );
    },
  );
});

function look(found: string[], all: boolean): Promise<unknown> {
  const addresses = found.map((address): LookupAddress => ({
    address,
    family: address.includes(':') ? 6 : 4,
  }));
  const lookup = guardedLookup(guard, (_name, _options, callback) => callback(null, addresses));
  return new Promise((resolve) => {
    lookup('a.example', { all }, (error, address, family) => resolve(error?.code ?? [address, family]));
  });
}

describe('a guarded lookup', () => {
  it('hands over the address it checked', async () => {
    expect(await look(['1.1.1.1'], false)).toEqual(['1.1.1.1', 4]);
    expect(await look(['1.1.1.1', '2606:4700::1'], true)).toEqual([
      [
        { address: '1.1.1.1', family: 4 },
        { address: '2606:4700::1', family: 6 },
      ],
      undefined,
    ]);
  });

  it.each([true, false])('refuses a name when any of its addresses is private (all: %s)', async (all) => {
    expect(await look(['1.1.1.1', '127.0.0.1'], all)).toBe(blockedAddressCode);
    expect(await look(['::ffff:127.0.0.1'], all)).toBe(blockedAddressCode);
  });

  it('refuses a name without an address', async () => {
    expect(await look([], false)).toBe(blockedAddressCode);
  });

  it('passes on that a name is not known', async () => {
    const lookup = guardedLookup(guard, (_name, _options, callback) =>
      callback(Object.assign(new Error('no'), { code: 'ENOTFOUND' }), []),
    );
    expect(await new Promise((resolve) => lookup('x', {}, (error) => resolve(error?.code)))).toBe(
      'ENOTFOUND',
    );
  });

  // covers B14
  it('sees each answer of a name that changes, and connects to none that is private', async () => {
    const answers = ['1.1.1.1', '127.0.0.1'];
    const lookup = guardedLookup(guard, (_name, _options, callback) =>
      callback(null, [{ address: answers.shift() ?? '127.0.0.1', family: 4 }]),
    );
    const once = (): Promise<unknown> =>
      new Promise((resolve) =>
        lookup('rebind.example', {}, (error, address) => resolve(error?.code ?? address)),
      );
    expect([await once(), await once()]).toEqual(['1.1.1.1', blockedAddressCode]);
  });
});
