import { describe, expect, test } from 'vitest';
import { Place, Places } from './place.ts';

/** A place with a stack of our choice, as V8 of some machine would have written it. */
function placeOf(inBetween: number, ...frames: readonly string[]): Place {
  const place = new Place(inBetween);
  Object.defineProperty(place, 'stack', {
    value: ['Error', ...frames].map((line) => `    ${line}`).join('\n'),
  });
  return place;
}

describe('a place', () => {
  test.each([
    ['a file', 'at order (/app/src/order.js:3:5)'],
    ['a module', 'at order (file:///app/src/order.mjs:3:5)'],
    ['a function without a name', 'at /app/src/order.js:3:5'],
    ['after an await', 'at async order (file:///app/src/order.js:3:5)'],
    ['after an await, without a name', 'at async file:///app/src/order.js:3:5'],
    ['Windows', String.raw`at order (C:\app\src\order.js:3:5)`],
    ['a folder with brackets in its name', 'at order (/app/(shop)/order.js:3:5)'],
    ['a method', 'at Orders.place [as run] (/app/src/order.js:3:5)'],
    ['evaluated code', 'at eval (eval at order (/app/src/order.js:3:5), <anonymous>:1:1)'],
  ])('is told as V8 does: %s', (_, frame) => {
    const ours = 'at TransactionManager.run (/app/node_modules/settle/dist/local/manager.js:9:9)';
    expect(placeOf(1, ours, frame, 'at main (/app/src/main.js:1:1)').toString()).toBe(frame);
  });

  test('is not one of ours, which are only ways to call us', () => {
    const place = placeOf(
      1,
      'at TransactionManager.run (/app/node_modules/settle/dist/local/manager.js:9:9)',
      'at transactional (/app/node_modules/settle/dist/local/transactional.js:9:9)',
      'at fastify (/app/node_modules/settle/dist/local/glue/fastify.js:9:9)',
      'at order (/app/src/order.js:3:5)',
    );
    expect(place.toString()).toBe('at order (/app/src/order.js:3:5)');
  });

  test('is the nearest there is where everything is ours', () => {
    const place = placeOf(
      1,
      'at run (/settle/local/manager.js:9:9)',
      'at retry (/settle/local/retry.js:9:9)',
    );
    expect(place.toString()).toBe('at retry (/settle/local/retry.js:9:9)');
  });

  test('is unknown where there is no stack', () => {
    expect(placeOf(1).toString()).toBe('at an unknown place');
    expect(placeOf(3, 'at run (/settle/local/manager.js:9:9)').toString()).toBe('at an unknown place');
  });

  test('takes few frames, and leaves it to others how many they take', () => {
    const before = Error.stackTraceLimit;
    const place = new Place(1);
    expect(Error.stackTraceLimit).toBe(before);
    expect(place.stack?.split('\n').length).toBeLessThan(9);
  });
});

describe('places', () => {
  test('are remembered where that was asked for', () => {
    const places = new Places(true);
    expect(places.tell(places.here(0))).toMatch(/^at .*:\d+:\d+\)?$/);
  });

  test('are remembered from the first message on that would have had one', () => {
    const places = new Places(false);
    expect(places.here(0)).toBeUndefined();
    expect(places.tell(undefined)).toBe('at a place that was not remembered; the next ones are');
    expect(places.here(0)).toBeInstanceOf(Place);
  });
});
