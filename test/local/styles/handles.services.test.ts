import { pgSubject } from '../pg-subject.ts';
import { handleContract } from './handles.ts';

handleContract(pgSubject());
