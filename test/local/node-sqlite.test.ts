import { localContract } from './contract.ts';
import { nodeSqliteSubject } from './node-sqlite-subject.ts';
import { scopeTreesLeaveWhatTheModelSays } from './scope-trees.ts';

const subject = nodeSqliteSubject();

localContract(subject);
scopeTreesLeaveWhatTheModelSays(subject, 10_000);
