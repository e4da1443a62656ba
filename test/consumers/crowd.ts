// Members of a group, each a process of its own, that are killed and closed at random while messages come in.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout } from 'node:timers/promises';
import { Pool } from 'pg';
import { migrateInbox } from '../../lib/src/inbox/index.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';

export interface MemberPlan {
  readonly broker: 'kafkajs' | 'platformatic' | 'nats' | 'rabbitmq' | 'redis' | 'http';
  readonly url: string;
  /** The topic, queue or stream; with HTTP the port. */
  readonly source: string;
  readonly group: string;
  readonly database: string;
  readonly storesPositions: boolean;
  /** With Redis, what a member is called within its group. Default: each otherwise. */
  readonly consumer?: string;
}

/** The least that Kafka allows: so long a killed member's partitions wait. */
export const sessionTimeoutMs = 6_000;

export interface Effect {
  readonly key: string;
  /** What the message said of its place among those of its key. */
  readonly n: number;
}

/** Where messages take effect; the tables of the inbox beside it. */
export async function openEffects(database: string) {
  const pool = new Pool({ connectionString: database, max: 2 });
  await migrateInbox(pgDriver(pool));
  await pool.query('create table effect (id bigserial, key text, payload json, member int)');
  return {
    /** In the order they took effect. */
    async all(): Promise<readonly Effect[]> {
      const { rows } = await pool.query<Effect>(
        `select key, (payload->>'n')::int as n from effect order by id`,
      );
      return rows;
    },
    async count(): Promise<number> {
      const { rows } = await pool.query<{ count: number }>('select count(*)::int as count from effect');
      return rows[0]?.count ?? 0;
    },
    close: () => pool.end(),
  };
}

const memberFile = fileURLToPath(new URL('member.ts', import.meta.url));

export class Crowd {
  readonly #plan: MemberPlan;
  readonly #members: ChildProcess[] = [];
  /** Of members that were not asked to end. */
  readonly failures: string[] = [];

  constructor(plan: MemberPlan) {
    this.#plan = plan;
  }

  start(count: number): void {
    for (let i = 0; i < count; i += 1) {
      const member = spawn(process.execPath, [...process.execArgv, memberFile, JSON.stringify(this.#plan)], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      member.stderr.on('data', (text: Buffer) => {
        if (!/Warning|trace-warnings|negative|Timeout duration/.test(String(text)))
          this.failures.push(String(text));
      });
      this.#members.push(member);
    }
  }

  /** Ends one of them at once, or asks it to end, and waits until it has. */
  async end(chosen: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const [member] = this.#members.splice(chosen % this.#members.length, 1);
    if (member === undefined || member.exitCode !== null) return;
    const ended = once(member, 'exit');
    member.kill(signal);
    await ended;
  }

  async endAll(): Promise<void> {
    while (this.#members.length > 0) await this.end(0, 'SIGKILL');
  }
}

/** Until it is so; fails after that time. */
export async function until(
  isSo: () => Promise<boolean>,
  withinMs: number,
  what: () => string,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(what());
    await setTimeout(100);
  }
}
