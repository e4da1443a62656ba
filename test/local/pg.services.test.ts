import { localContract } from './contract.ts';
import { pgSubject } from './pg-subject.ts';

const subject = pgSubject();

localContract(subject, 1_000);
