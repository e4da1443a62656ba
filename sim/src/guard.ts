/**
 * Chance and the real world are out of reach during a run: whoever touches them there throws, and the seed fails.
 * The linter keeps core and engine from them as well; this catches what it cannot see.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

/** Replaces the globals; returns what puts them back. */
export function forbidGlobals(): () => void {
  const restores = [
    ...['setTimeout', 'setInterval', 'setImmediate', 'fetch'].map((name) =>
      replace(globalThis, name, refuse(name)),
    ),
    replace(globalThis, 'Date', forbiddenDate()),
    replace(Math, 'random', refuse('Math.random')),
    replace(performance, 'now', refuse('performance.now')),
    replace(AbortSignal, 'timeout', refuse('AbortSignal.timeout')),
    ...['randomUUID', 'getRandomValues'].map((name) => replace(crypto, name, refuse(`crypto.${name}`))),
    ...[
      'readFileSync',
      'writeFileSync',
      'openSync',
      'open',
      'readFile',
      'writeFile',
      'createWriteStream',
    ].map((name) => replace(fs, name, refuse(`fs.${name}`))),
    ...['connect', 'createConnection', 'createServer'].map((name) =>
      replace(net, name, refuse(`net.${name}`)),
    ),
  ];
  syncBuiltinESMExports();
  return () => {
    for (const restore of restores) restore();
    syncBuiltinESMExports();
  };
}

function replace(owner: object, name: string, value: unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(owner, name);
  Object.defineProperty(owner, name, { value, configurable: true, writable: true });
  return () => {
    if (own === undefined) Reflect.deleteProperty(owner, name);
    else Object.defineProperty(owner, name, own);
  };
}

function refuse(name: string): () => never {
  // Not an arrow function, so that `new` comes here as well.
  return function refused(): never {
    throw new Error(`${name} was used during a simulation; take the port`);
  };
}

/** What only computes stays: a Retry-After may name a date. */
function forbiddenDate(): unknown {
  return Object.assign(refuse('Date'), { now: refuse('Date.now'), parse: Date.parse, UTC: Date.UTC });
}
