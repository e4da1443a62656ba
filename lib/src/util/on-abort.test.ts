import { expect, it } from 'vitest';
import { onAbort } from './on-abort.ts';

it('calls back everybody who waits for the signal, once', () => {
  const controller = new AbortController();
  const called: string[] = [];
  for (const name of ['a', 'b']) onAbort(controller.signal, () => called.push(name));
  controller.abort();
  controller.abort();
  expect(called.toSorted()).toEqual(['a', 'b']);
});

it('calls nobody who forgot it, be it in the callback of another', () => {
  const controller = new AbortController();
  const called: string[] = [];
  onAbort(controller.signal, () => called.push('forgotten before'))();
  const forgetFirst = onAbort(controller.signal, () => forget('first'));
  const forgetSecond = onAbort(controller.signal, () => forget('second'));
  const forget = (name: string): void => {
    called.push(name);
    forgetFirst();
    forgetSecond();
  };
  controller.abort();
  expect(called).toHaveLength(1);
});
