import { describe, expect, it } from 'vitest';
import { EventReader } from './events.ts';

/** An event as it is sent: its type, where it ends, and its body. */
function event(type: number, body: Buffer, end = 100): Uint8Array {
  const header = Buffer.alloc(19);
  header.writeUInt8(type, 4);
  header.writeUInt32LE(19 + body.length, 9);
  header.writeUInt32LE(end, 13);
  return Buffer.concat([header, body]);
}

const checksum = Buffer.from([1, 2, 3, 4]);

function formatDescription(algorithm: number): Uint8Array {
  return event(15, Buffer.concat([Buffer.alloc(100), Buffer.from([algorithm]), checksum]));
}

function query(text: string): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt8(4, 8);
  head.writeUInt16LE(3, 11);
  return Buffer.concat([head, Buffer.from('xyzshop\0'), Buffer.from(text)]);
}

function rotate(file: string): Buffer {
  const at = Buffer.alloc(8);
  at.writeBigUInt64LE(4n);
  return Buffer.concat([at, Buffer.from(file)]);
}

describe('an event of the binary log', () => {
  it('is read with its end', () => {
    expect(new EventReader({ hasChecksum: false }).read(event(16, Buffer.alloc(8), 4_000_000_000))).toEqual({
      event: { kind: 'commit' },
      end: 4_000_000_000,
    });
  });

  it('is read without its checksum, once the format says that there is one', () => {
    const reader = new EventReader({ hasChecksum: false });
    expect(reader.read(event(4, rotate('bin.000001'))).event).toEqual({
      kind: 'rotate',
      file: 'bin.000001',
      at: 4,
    });
    reader.read(formatDescription(1));
    const second = event(4, Buffer.concat([rotate('bin.000002'), checksum]));
    expect(reader.read(second).event).toEqual({ kind: 'rotate', file: 'bin.000002', at: 4 });
    const statement = event(2, Buffer.concat([query('COMMIT'), checksum]));
    expect(reader.read(statement).event).toEqual({ kind: 'statement', text: 'COMMIT' });
    reader.read(formatDescription(0));
    expect(reader.read(event(2, query('COMMIT'))).event).toEqual({ kind: 'statement', text: 'COMMIT' });
  });

  it('is read without its checksum before the format is known, where the server was asked for one', () => {
    const first = event(4, Buffer.concat([rotate('bin.000001'), checksum]));
    const { event: read } = new EventReader({ hasChecksum: true }).read(first);
    expect(read).toEqual({ kind: 'rotate', file: 'bin.000001', at: 4 });
  });

  it('of a prepared branch bears its xid', () => {
    const body = Buffer.alloc(13);
    body.writeUInt32LE(1, 1);
    body.writeUInt32LE(2, 5);
    body.writeUInt32LE(1, 9);
    const prepared = event(38, Buffer.concat([body, Buffer.from('a1b')]));
    expect(new EventReader({ hasChecksum: false }).read(prepared).event).toEqual({
      kind: 'prepare',
      xid: '6131:62:1',
      isOnePhase: false,
    });
  });

  it('of MariaDB says whether its group has an end', () => {
    const body = Buffer.alloc(19);
    expect(new EventReader({ hasChecksum: false }).read(event(162, body)).event).toEqual({
      kind: 'group',
      isAlone: false,
    });
    body[12] = 1;
    expect(new EventReader({ hasChecksum: false }).read(event(162, body)).event).toEqual({
      kind: 'group',
      isAlone: true,
    });
  });

  it.each([27, 29, 160, 255])('of a type that is not ours is passed over: %i', (type) => {
    expect(new EventReader({ hasChecksum: false }).read(event(type, Buffer.alloc(0))).event).toEqual({
      kind: 'other',
    });
  });
});
