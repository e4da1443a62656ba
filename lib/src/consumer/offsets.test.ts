import { expect, test } from 'vitest';
import { logRef, positionAfter } from './offsets.ts';

test('the position behind a message is read from where it is kept', () => {
  const source = 'orders/eu@1';
  expect(positionAfter({ source, ref: logRef(source, 3, 1207n) })).toEqual({
    source,
    partition: 3,
    position: 1208n,
  });
});

test.each(['orders@7', 'orders/3', 'bills/3@7', 'orders/x@7'])('%s is no place in the log orders', (ref) => {
  expect(positionAfter({ source: 'orders', ref })).toBeUndefined();
});
