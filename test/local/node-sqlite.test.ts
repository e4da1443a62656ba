import { localContract } from './contract.ts';
import { nodeSqliteSubject } from './node-sqlite-subject.ts';

const subject = nodeSqliteSubject();

localContract(subject, 10_000);
