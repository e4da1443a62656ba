import { nodeSqliteSubject } from '../node-sqlite-subject.ts';
import { handleContract } from './handles.ts';

handleContract(nodeSqliteSubject());
