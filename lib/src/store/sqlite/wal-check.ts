/**
 * Looks for damage in the write-ahead log, before SQLite reads it.
 *
 * SQLite ends its reading of the log at the first frame whose checksum is wrong, and silently drops what follows. At
 * the end that is right: a commit torn by a power failure was never acknowledged. Further inside it would drop
 * acknowledged commits. A commit is synced before the next one is written, so behind the torn one there is at most the
 * commit frame of that same commit: two or more of this log's commit frames behind the break prove damage.
 *
 * What it cannot tell: whether damage to the very last commit is a torn write or a later fault.
 *
 * The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const headerBytes = 32;
const frameHeaderBytes = 24;
const framesPerRead = 256;

/** What is wrong with the log; undefined when nothing is, or when there is none. */
export function damageOfWal(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    return damageIn(file, fstatSync(file).size);
  } finally {
    closeSync(file);
  }
}

function damageIn(file: number, size: number): string | undefined {
  if (size <= headerBytes) return undefined;
  const header = view(file, 0, headerBytes);
  const magic = header.getUint32(0);
  const littleEndian = magic === 0x377f0682;
  const sum: Checksum = { a: 0, b: 0 };
  add(sum, header, 0, 24, littleEndian);
  const known = littleEndian || magic === 0x377f0683;
  if (!known || sum.a !== header.getUint32(24) || sum.b !== header.getUint32(28)) {
    // A header is synced before the first frame is written: only a file of zeros is a log that never began.
    return isZero(file, size) ? undefined : 'the header of its write-ahead log is unreadable';
  }

  const frameBytes = frameHeaderBytes + header.getUint32(8);
  const salts = [header.getUint32(16), header.getUint32(20)];
  const frames = Math.floor((size - headerBytes) / frameBytes);
  let brokenAt: number | undefined;
  let commitsBehind = 0;
  for (let first = 0; first < frames; first += framesPerRead) {
    const count = Math.min(framesPerRead, frames - first);
    const chunk = view(file, headerBytes + first * frameBytes, count * frameBytes);
    for (let i = 0; i < count; i++) {
      const at = i * frameBytes;
      const ours = chunk.getUint32(at + 8) === salts[0] && chunk.getUint32(at + 12) === salts[1];
      if (brokenAt === undefined) {
        add(sum, chunk, at, 8, littleEndian);
        add(sum, chunk, at + frameHeaderBytes, frameBytes - frameHeaderBytes, littleEndian);
        if (ours && sum.a === chunk.getUint32(at + 16) && sum.b === chunk.getUint32(at + 20)) continue;
        brokenAt = headerBytes + (first + i) * frameBytes;
      }
      // Frames of an earlier round have other salts; they are left over, not lost.
      if (ours && chunk.getUint32(at + 4) !== 0) commitsBehind++;
    }
  }
  if (commitsBehind < 2) return undefined;
  return `its write-ahead log is broken at byte ${brokenAt}, with ${commitsBehind} commits behind that would be lost`;
}

interface Checksum {
  a: number;
  b: number;
}

function add(sum: Checksum, bytes: DataView, from: number, length: number, littleEndian: boolean): void {
  let { a, b } = sum;
  for (let at = from; at < from + length; at += 8) {
    a = (a + bytes.getUint32(at, littleEndian) + b) >>> 0;
    b = (b + bytes.getUint32(at + 4, littleEndian) + a) >>> 0;
  }
  sum.a = a;
  sum.b = b;
}

function isZero(file: number, size: number): boolean {
  const step = 1024 * 1024;
  for (let at = 0; at < size; at += step) {
    const part = view(file, at, Math.min(step, size - at));
    for (let i = 0; i < part.byteLength; i++) if (part.getUint8(i) !== 0) return false;
  }
  return true;
}

function view(file: number, at: number, length: number): DataView {
  const bytes = new Uint8Array(length);
  readSync(file, bytes, 0, length, at);
  return new DataView(bytes.buffer);
}
