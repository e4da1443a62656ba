import { describe, expect, test } from 'vitest';
import { migrated, type world } from '../../../test/outbox/sqlite-outbox.ts';
import { thrownBy, turn, outcomeOf } from '../../../test/local/world.ts';

const names = (count: number) => Array.from({ length: count }, (_, n) => `h${n}`);

const cycle: Record<string, unknown> = {};
cycle['self'] = cycle;

describe('what cannot be a message is refused at the call, and the transaction goes on:', () => {
  type Refused = [string, (outbox: ReturnType<typeof world>['outbox']) => Promise<unknown>, RegExp];
  test.each<Refused>([
    ['a bigint', (outbox) => outbox.send('any', { id: 1n }, { id: 'm1' }), /any m1: .*JSON/],
    ['a cycle', (outbox) => outbox.send('any', cycle, { id: 'm1' }), /any m1: .*JSON/],
    ['undefined', (outbox) => outbox.send('any', undefined, { id: 'm1' }), /any m1: .*nothing that JSON/],
    ['a function', (outbox) => outbox.send('any', () => 1, { id: 'm1' }), /any m1: .*nothing that JSON/],
    [
      'a payload that its schema refuses',
      (outbox) => outbox.send('order.placed', { id: 5 as unknown as string }, { id: 'm1' }),
      /order\.placed m1: its payload is not valid: \/id is no text/,
    ],
    [
      'a payload that is too large',
      (outbox) => outbox.send('note', 'ä'.repeat(524_288), { id: 'm1' }),
      /note m1: its payload has 1048578 bytes, more than 1048576/,
    ],
    [
      'an unknown type',
      (outbox) => outbox.send('toString' as 'note', '', { id: 'm1' }),
      /toString m1: its type is unknown/,
    ],
    ['an empty id', (outbox) => outbox.send('note', '', { id: '' }), /its id is not/],
    ['an id with a space', (outbox) => outbox.send('note', '', { id: 'a ' }), /its id is not/],
    ['an id beyond ASCII', (outbox) => outbox.send('note', '', { id: 'ä' }), /its id is not/],
    ['an id that is too long', (outbox) => outbox.send('note', '', { id: 'x'.repeat(256) }), /its id is not/],
    ['an id that is no text', (outbox) => outbox.send('note', '', { id: 5 as unknown as string }), /its id/],
    ['an empty key', (outbox) => outbox.send('note', '', { key: '' }), /its key has 0 characters/],
    [
      'a key that is too long',
      (outbox) => outbox.send('note', '', { key: 'x'.repeat(256) }),
      /its key has 256/,
    ],
    ['a key with U+0000', (outbox) => outbox.send('note', '', { key: 'a\0' }), /its key has a character/],
    [
      'half a surrogate pair',
      (outbox) => outbox.send('note', '', { key: '\ud800' }),
      /its key has a character/,
    ],
    [
      'a key that is no text',
      (outbox) => outbox.send('note', '', { key: 5 as unknown as string }),
      /its key/,
    ],
    [
      'a payload from which no key can be told',
      (outbox) => outbox.send('keyed', {} as { id: string }, { id: 'm1' }),
      /keyed m1: its payload gives no key/,
    ],
    ['an empty dedup key', (outbox) => outbox.send('note', '', { dedupKey: '' }), /its dedup key has 0/],
    ['a delay below 0', (outbox) => outbox.send('note', '', { delayMs: -1 }), /delayMs is -1/],
    ['a delay of more than a year', (outbox) => outbox.send('note', '', { delayMs: 4e10 }), /delayMs is 4/],
    ['half a millisecond', (outbox) => outbox.send('note', '', { delayMs: 0.5 }), /delayMs is 0.5/],
    [
      'no destination',
      (outbox) => outbox.send('note', '', { destination: 'kafka' as 'kafka:' }),
      /"kafka" is no destination/,
    ],
    [
      'a header of ours',
      (outbox) => outbox.send('note', '', { headers: { 'Settle-Id': '' } }),
      /not the sender's/,
    ],
    ['a header without a name', (outbox) => outbox.send('note', '', { headers: { '': '' } }), /no name/],
    [
      'a header with a line break',
      (outbox) => outbox.send('note', '', { headers: { a: 'b\r\nc: d' } }),
      /the header a is not text without control/,
    ],
    [
      'too many headers',
      (outbox) =>
        outbox.send('note', '', { headers: Object.fromEntries(names(65).map((name) => [name, ''])) }),
      /65 headers, more than 64/,
    ],
    [
      'headers that are too large',
      (outbox) => outbox.send('note', '', { headers: { a: 'x'.repeat(16_384) } }),
      /its headers have 16392 bytes/,
    ],
  ])('%s', async (_, send, text) => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      await outbox.send('note', 'before');
      const error = await thrownBy(send(outbox));
      expect(error.code).toBe('message_invalid');
      expect(error.message).toMatch(text);
      await outbox.send('note', 'after');
    });
    expect(notes()).toEqual(['before', 'after']);
  });

  test('of many none is sent where one is invalid', async () => {
    const { tx, outbox, notes, slow } = await migrated();
    await tx.run(async () => {
      const many = outbox.sendMany([
        { type: 'note', payload: 'valid' },
        { type: 'order.slow', payload: { id: '' } },
        { type: 'order.placed', payload: { id: 5 as unknown as string } },
      ]);
      expect(await outcomeOf(many)).toBe('message_invalid');
      slow.answer();
      await turn();
      await outbox.send('note', 'after');
    });
    expect(notes()).toEqual(['after']);
  });
});
