/** `settle/relay/postgres`: wake-ups across processes by LISTEN and NOTIFY. */
export type { Backoff } from './keep-open.ts';
export {
  notifyWake,
  type NotifyWakeOptions,
  type PgListenClient,
  type PostgresJsListener,
} from './notify.ts';
export {
  notifyOnCommit,
  type CommittingOutbox,
  type NotifyOnCommitOptions,
  type PgNotifier,
  type PostgresJsNotifier,
} from './notify-on-commit.ts';
