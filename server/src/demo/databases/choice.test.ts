import { describe, expect, it } from 'vitest';
import { readDevOptions } from '../../commands/dev-options.ts';
import { kindsByService } from './choice.ts';
import { openServer } from './database-server.ts';

function chosen(...flags: readonly string[]) {
  const choice = readDevOptions(flags.map((flag) => `--databases=${flag}`)).databases;
  return { kinds: Object.values(kindsByService(choice)), urls: Object.fromEntries(choice.urls) };
}

describe('--databases', () => {
  it.each([
    [[], ['sqlite', 'sqlite', 'sqlite']],
    [['postgres'], ['postgres', 'postgres', 'postgres']],
    [['postgres,sqlite'], ['postgres', 'sqlite', 'postgres']],
    [['mariadb, sqlite, postgres'], ['mariadb', 'sqlite', 'postgres']],
    [
      ['mariadb', 'postgres'],
      ['mariadb', 'postgres', 'mariadb'],
    ],
  ])('%j is for orders, stock and wallet %j', (flags, kinds) => {
    expect(chosen(...flags)).toEqual({ kinds, urls: {} });
  });

  it('takes a server for each kind, which counts for all services of that kind', () => {
    const postgres = 'postgresql://me:secret@db.example:5433/mine?sslmode=require';
    const mariadb = 'mysql://root@127.0.0.1';
    expect(chosen(`postgres=${postgres},mariadb=${mariadb},postgres`)).toEqual({
      kinds: ['postgres', 'mariadb', 'postgres'],
      urls: { postgres, mariadb },
    });
    expect(chosen(`postgres=${postgres},postgres=${postgres}`).urls).toEqual({ postgres });
  });

  it.each([
    'oracle',
    'Postgres',
    'sqlite=shop.db',
    'postgres=',
    'postgres=mysql://127.0.0.1',
    'mariadb=127.0.0.1:3306',
    'postgres=postgres://',
    'postgres=postgres://me:secret@:x',
  ])('refuses %s, says what may stand there, and repeats no secret', (text) => {
    const refused = expect.objectContaining({
      code: 'config_invalid',
      message: expect.stringMatching(/--databases must be .* sqlite, postgres or mariadb(?!.*secret)/),
    });
    expect(() => chosen(text)).toThrow(refused);
  });

  it('refuses two servers of one kind, without their passwords', () => {
    const two = 'postgres=postgres://a:secret@h1,sqlite,postgres=postgres://a:secret@h2';
    expect(() => chosen(two)).toThrow(/two different servers for postgres(?!.*secret)/);
  });

  it('refuses more databases than there are services', () => {
    expect(() => chosen('sqlite,sqlite,sqlite,postgres')).toThrow('--databases names 4 databases');
  });
});

describe('a server that is not there', () => {
  it.each([
    ['postgres', 'postgres://me:secret@127.0.0.1:1/x?password=secret', 'postgres://me:***@127.0.0.1:1/x '],
    ['mariadb', 'mysql://me:secret@127.0.0.1:1', 'mysql://me:***@127.0.0.1:1 '],
  ] as const)('is refused with its address, without the password: %s', async (kind, url, shown) => {
    const failed = openServer(kind, url);
    await expect(failed).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(failed).rejects.toThrow(shown);
    await expect(failed).rejects.toThrow('ECONNREFUSED');
  });
});
