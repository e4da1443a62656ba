import { StorageDriver } from 'typeorm-transactional';
import { typeormTransactional } from './typeorm-transactional-by.ts';

export const peer = typeormTransactional('typeorm-transactional', {
  storageDriver: StorageDriver.CLS_HOOKED,
  about: 'cls-hooked, its default',
});
