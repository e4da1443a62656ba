import { describe, expect, it } from 'vitest';
import { readMessage, statusUpdate } from './messages.ts';
import { isVisibleIn, snapshotOf } from './snapshot.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const header = '77 0000000001529B30 0000000001529B30 0002A1B2C3D4E5F6';

describe('a message of the log', () => {
  it.each([
    [
      'a sign of life',
      '6B 00000001FFFFFFF0 0002A1B2C3D4E5F6 01',
      { kind: 'alive', position: 0x1_ffff_fff0n, isAsking: true },
    ],
    [
      'a beginning',
      `${header} 42 0000000001529B98 0002A1B2C3D4E5F6 FFFFFFFE`,
      { kind: 'begin', xid: 4_294_967_294 },
    ],
    ['an insert', `${header} 49 00004001 4E 0001 74 00000001 37`, { kind: 'insert' }],
    [
      'a commit',
      `${header} 43 00 0000000001529B98 0000000A01529BC8 0002A1B2C3D4E5F6`,
      { kind: 'commit', end: 0xa_0152_9bc8n },
    ],
    ['the description of a table', `${header} 52 00004001 00`, { kind: 'other' }],
    ['what later versions may send', '78 00', { kind: 'other' }],
    ['nothing', '', { kind: 'other' }],
  ])('is read: %s', (_, bytes, message) => {
    expect(readMessage(hex(bytes))).toEqual(message);
  });

  it('is read from the middle of a larger buffer', () => {
    const whole = hex(`FFFF ${header} 43 00 0000000001529B98 0000000001529BC8 0002A1B2C3D4E5F6`);
    expect(readMessage(whole.subarray(2))).toEqual({ kind: 'commit', end: 0x152_9bc8n });
  });

  it('is answered with one position, three times, in a frame of its own', () => {
    const bytes = Buffer.from(statusUpdate(0x1_0000_0002n, { isAsking: true }));
    const lsn = '0000000100000002';
    expect(bytes.subarray(0, 30).toString('hex')).toBe(`640000002672${lsn}${lsn}${lsn}`);
    expect(bytes.length).toBe(39);
    expect(bytes[38]).toBe(1);
    // Microseconds since 2000.
    const at = Number(bytes.readBigInt64BE(30)) / 1_000 + Date.UTC(2000, 0, 1);
    expect(Math.abs(at - Date.now())).toBeLessThan(10_000);
  });
});

describe('a transaction', () => {
  const round = 2n ** 32n;

  it.each([
    ['before all that run', '100:110:', 99, true],
    ['that runs', '100:110:100,105', 105, false],
    ['that ended among those that run', '100:110:100,105', 104, true],
    ['that began after the snapshot', '100:110:', 110, false],
    ['before the snapshot, in the round before', `${round + 5n}:${round + 10n}:`, 4_294_967_290, true],
    ['that runs, in the round before', `${round - 6n}:${round + 10n}:${round - 6n}`, 4_294_967_290, false],
    ['after the snapshot, in the next round', `${round - 5n}:${round - 2n}:`, 3, false],
    ['many rounds on', `${7n * round + 100n}:${7n * round + 110n}:`, 99, true],
  ])('%s is visible or not', (_, snapshot, xid, isVisible) => {
    expect(isVisibleIn(snapshotOf(snapshot), xid)).toBe(isVisible);
  });
});
