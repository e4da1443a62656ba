// Each example is run as a user would run it, against the built packages, in a folder of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'settle-examples-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the example', () => {
  it('saga-embedded settles one order and undoes the other, in at most 25 lines', async () => {
    expect(await run('saga-embedded')).toBe(
      [
        'ann committed  { tea: 3, money: { ann: 4, bob: 1 } }',
        'bob aborted charge refused: bob is short of money { tea: 3, money: { ann: 4, bob: 1 } }',
        '',
      ].join('\n'),
    );
    expect(
      readFileSync(join(here, 'saga-embedded/main.ts'), 'utf8').trimEnd().split('\n').length,
    ).toBeLessThanOrEqual(25);
  });

  it('saga-http does so over two services and a server', async () => {
    const server = start([
      join(here, '../server/dist/main.js'),
      'serve',
      '--port=0',
      `--store=${join(folder, 'server.db')}`,
      '--json',
    ]);
    try {
      const url = await urlOf(server);
      expect(await run('saga-http', { SETTLE_URL: url })).toBe(
        [
          'ann: committed; 3 cups of tea left',
          'bob: aborted: charge refused: bob is short of money; 3 cups of tea left',
          '',
        ].join('\n'),
      );
    } finally {
      const ended = once(server, 'exit');
      server.kill('SIGTERM');
      await ended;
    }
  });

  it('tcc-transfer moves money or leaves all of it where it was', async () => {
    expect(await run('tcc-transfer')).toBe(
      [
        '300 cents: committed; ann has 700 (0 held), bob has 1300 (0 held)',
        '900 cents: aborted: debit refused: ann has less than 900 cents; ann has 700 (0 held), bob has 1300 (0 held)',
        '',
      ].join('\n'),
    );
  });

  it('message-with-local-transaction rewards only what was ordered', async () => {
    expect(await run('message-with-local-transaction')).toBe(
      ['tea: committed; 1 orders, 1 rewarded', 'gold: out of stock; 1 orders, 1 rewarded', ''].join('\n'),
    );
  });

  it('choreography tells one story by events, and the same by a saga', async () => {
    expect(await run('choreography')).toBe(
      [
        'by events:',
        '  ann: completed',
        '  bob: rejected: bob is short of money',
        '  ann: rejected: out of stock',
        '  3 cups left; ann has 4, bob has 1',
        'by a saga:',
        '  ann: completed',
        '  bob: rejected: charge refused: bob is short of money',
        '  ann: rejected: reserve refused: out of stock',
        '  3 cups left; ann has 4, bob has 1',
        '',
      ].join('\n'),
    );
  });
});

async function run(example: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const cwd = mkdtempSync(join(folder, 'run-'));
  const child = start([join(here, example, 'main.ts')], { cwd, env });
  const [out, err] = [text(child.stdout), text(child.stderr)];
  const [code] = (await once(child, 'exit')) as [number | null];
  expect({ code, err: await err }).toMatchObject({ code: 0 });
  return out;
}

function start(
  args: readonly string[],
  { cwd = folder, env = {} }: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function text(stream: NodeJS.ReadableStream | null): Promise<string> {
  let all = '';
  if (stream !== null) for await (const chunk of stream) all += String(chunk);
  return all;
}

/** Goes on reading after it found it, or a full pipe would stop the server. */
function urlOf(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let all = '';
    server.stdout?.on('data', (chunk) => {
      all += String(chunk);
      const url = /"url":"(http[^"]+)"/.exec(all)?.[1];
      if (url !== undefined) resolve(url);
    });
    server.once('exit', () => reject(new Error(`the server did not start: ${all}`)));
  });
}
