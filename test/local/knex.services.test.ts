import Knex from 'knex';
import { knexDriver } from '../../lib/src/local/adapters/knex.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes, type NoteDatabase } from './databases.ts';
import type { Subject } from './subject.ts';

function subjectOn(client: 'pg' | 'mysql2', database: NoteDatabase): Subject<Knex.Knex> {
  return {
    name: `Knex over ${client}`,
    database,
    open(connectionsMax, url) {
      const knex = Knex({
        client,
        connection: url,
        pool: { min: 0, max: connectionsMax },
        log: { warn() {} },
      });
      return Promise.resolve({ driver: knexDriver(knex), close: () => knex.destroy() });
    },
    insert: (knex, value) => knex('note').insert({ value }),
    values: (knex) => knex('note').orderBy('value').pluck('value'),
    raw: async (knex, text): Promise<unknown> => await knex.raw(text),
  };
}

const onPg = subjectOn('pg', postgresNotes());
const onMysql2 = subjectOn('mysql2', mariadbNotes());

localContract(onPg);
localContract(onMysql2);
