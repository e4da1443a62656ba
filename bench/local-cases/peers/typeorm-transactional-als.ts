import { StorageDriver } from 'typeorm-transactional';
import { typeormTransactional } from './typeorm-transactional-by.ts';

export const peer = typeormTransactional('typeorm-transactional-als', {
  storageDriver: StorageDriver.ASYNC_LOCAL_STORAGE,
  about: 'AsyncLocalStorage',
});
