/** The table as an entity, and the data source, of the peers that build on TypeORM. */
import { type DataSourceOptions, EntitySchema } from 'typeorm';
import type { OpenOptions } from '../peer.ts';

interface Note {
  readonly id: number;
  readonly text: string;
}

export const note = new EntitySchema<Note>({
  name: 'note',
  columns: { id: { type: Number, primary: true, generated: true }, text: { type: 'text' } },
});

export function dataSourceOptions({ url, poolMax, acquireTimeoutMs }: OpenOptions): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    entities: [note],
    poolSize: poolMax,
    ...(acquireTimeoutMs === undefined ? {} : { connectTimeoutMS: acquireTimeoutMs }),
  };
}
