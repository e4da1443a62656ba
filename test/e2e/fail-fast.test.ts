import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from 'settle';
import { startSettle, type SettleProcess } from './settle-process.ts';

/** What fails in the process, where nobody expects it, when it is sent SIGUSR2. */
const surprises = {
  'an exception that nobody catches': "throw new Error('surprise')",
  'a rejection that nobody handles': "Promise.reject(new Error('surprise'))",
};

let folder: string;
let participant: Server;
let isUp: boolean;
const running: SettleProcess[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'settle-fail-fast-'));
  isUp = false;
  participant = createServer((request, response) => {
    request.resume();
    response.writeHead(isUp ? 204 : 425).end();
  });
  await new Promise<void>((resolve) => participant.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  for (const { child, exit } of running.splice(0)) {
    child.kill('SIGKILL');
    await exit;
  }
  participant.closeAllConnections();
  await new Promise((resolve) => participant.close(resolve));
  rmSync(folder, { recursive: true });
});

async function serve(surprise: string): Promise<{ readonly process: SettleProcess; readonly url: string }> {
  const preload = `data:text/javascript,process.on('SIGUSR2',()=>{${encodeURIComponent(surprise)}})`;
  const process = startSettle(['serve', '--port=0', `--store=${join(folder, 'settle.db')}`], {
    NODE_OPTIONS: `--import=${preload}`,
  });
  running.push(process);
  return { process, url: (await process.until(/ready url=(\S+)/))[1] ?? '' };
}

describe('settle serve', () => {
  // covers A34
  it.each(Object.entries(surprises))(
    'ends with an error at %s, and the next one goes on',
    async (_, surprise) => {
      const first = await serve(surprise);
      const url = `http://127.0.0.1:${(participant.address() as AddressInfo).port}`;
      const client = connect(first.url);
      const steps = [{ name: 'a', action: { address: url } }];
      const { gid } = await client.submit({ pattern: 'saga', name: 'one', steps });
      await client.close();
      first.process.child.kill('SIGUSR2');
      expect(await first.process.exit).toBe(70);
      expect(first.process.output.stderr + first.process.output.stdout).toContain('surprise');
      isUp = true;
      const second = await serve('');
      await using again = connect(second.url);
      expect((await again.get(gid, { waitMs: 20_000 })).status).toBe('committed');
    },
  );
});
