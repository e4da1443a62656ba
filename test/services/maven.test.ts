// How jars are fetched, from a repository that is made up.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fetchJars, repository } from '../../scripts/services/maven.mjs';

/** What the repository has. */
const there: Readonly<Record<string, string>> = {
  '/maven/org/one/thing/1.0/thing-1.0.jar': 'the thing',
  '/maven/two/other/2/other-2.jar': 'the other',
};
const thing = `${sha256('the thing')}  org.one:thing:1.0`;
const other = `${sha256('the other')}  two:other:2`;

let server: Server;
let asked: string[];
let home: string;
let from: { readonly env: Record<string, string> };

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'settle-maven-'));
  asked = [];
  server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    response.writeHead(there[path] === undefined ? 404 : 200).end(there[path]);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  from = { env: { SETTLE_MAVEN_REPOSITORY: `http://127.0.0.1:${port}/maven/` } };
});

afterEach(() => {
  server.close();
  rmSync(home, { recursive: true });
});

describe('jars', () => {
  test('are fetched into one folder, once', async () => {
    const pins = ['# a comment', thing, other, ''].join('\n');
    const folder = await fetchJars('jars', pins, home, from);
    expect(readdirSync(folder).toSorted()).toEqual(['other-2.jar', 'thing-1.0.jar']);
    expect(readFileSync(join(folder, 'thing-1.0.jar'), 'utf8')).toBe('the thing');
    expect(asked.toSorted()).toEqual(Object.keys(there));

    expect(await fetchJars('jars', pins, home, from)).toBe(folder);
    expect(asked).toHaveLength(2);
  });

  test('are not taken with another checksum than that of their pin', async () => {
    const pin = `${sha256('what was pinned')}  org.one:thing:1.0`;
    await expect(fetchJars('jars', pin, home, from)).rejects.toThrow(
      `thing-1.0.jar is not the jar that this project knows (its SHA-256 is ${sha256('the thing')})`,
    );
    expect(readdirSync(join(home, 'jars'))).toEqual([]);
  });

  test('that cannot be had are named, with what to do', async () => {
    const pin = `${sha256('')}  two:none:3`;
    await expect(fetchJars('jars', pin, home, from)).rejects.toThrow(
      /\/maven\/two\/none\/3\/none-3\.jar could not be fetched: HTTP 404 \(set SETTLE_MAVEN_REPOSITORY to a mirror/,
    );
  });
});

describe('the repository is', () => {
  const central = 'https://repo1.maven.org/maven2';

  test('Maven Central, unless told otherwise', () => {
    expect(repository({}, home)).toBe(central);
  });

  test('the mirror that the settings of Maven name for it', () => {
    settings(`<!-- <mirror><mirrorOf>*</mirrorOf><url>https://old</url></mirror> -->
      <mirror><mirrorOf>snapshots</mirrorOf><url>https://other</url></mirror>
      <mirror><id>m</id><url> https://mirror/maven/ </url><mirrorOf>snapshots,central</mirrorOf></mirror>`);
    expect(repository({}, home)).toBe('https://mirror/maven');
  });

  test('not a mirror of all but Maven Central', () => {
    settings('<mirror><mirrorOf>*,!central</mirrorOf><url>https://mirror</url></mirror>');
    expect(repository({}, home)).toBe(central);
  });

  test('first of all what SETTLE_MAVEN_REPOSITORY says', () => {
    settings('<mirror><mirrorOf>*</mirrorOf><url>https://mirror</url></mirror>');
    expect(repository({ SETTLE_MAVEN_REPOSITORY: 'https://mine/' }, home)).toBe('https://mine');
  });
});

function settings(mirrors: string): void {
  mkdirSync(join(home, '.m2'));
  writeFileSync(join(home, '.m2', 'settings.xml'), `<settings><mirrors>${mirrors}</mirrors></settings>`);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
