import BetterSqlite from 'better-sqlite3';
import Knex from 'knex';
import { knexDriver } from '../../lib/src/local/adapters/knex.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';

const subject: Subject<Knex.Knex> = {
  name: 'Knex over better-sqlite3',
  database: sqliteNotes((path) => new BetterSqlite(path)),
  open(_, filename) {
    const knex = Knex({ client: 'better-sqlite3', connection: { filename }, useNullAsDefault: true });
    return Promise.resolve({ driver: knexDriver(knex), close: () => knex.destroy() });
  },
  insert: (knex, value) => knex('note').insert({ value }),
  values: (knex) => knex('note').orderBy('value').pluck('value'),
  raw: (knex, text) => knex.raw(text),
};

localContract(subject);
