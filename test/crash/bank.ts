/**
 * Two banks, each with a SQLite file and a barrier of its own, behind one HTTP server: the participants whose ledgers
 * judge the coordinator. `payer` is debited, `payee` credited; every change of money is an entry in the bank's ledger.
 */
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { handler, Refused, type ParticipantCall } from 'settle/participant';
import { nodeHandler } from 'settle/participant/node';
import { sqliteBarrier, type SqliteBarrier } from 'settle/participant/sqlite';

export interface Transfer {
  readonly amount: number;
  /** The payee will refuse the credit. */
  readonly refuse?: boolean;
}

export interface Bank {
  readonly db: DatabaseSync;
  readonly barrier: SqliteBarrier<DatabaseSync>;
}

export interface Banks {
  readonly url: string;
  readonly payer: Bank;
  readonly payee: Bank;
  close(): Promise<void>;
}

export interface BankFaults {
  /** Whether to lose this answer although the effect stands. */
  loseAnswer(): boolean;
  /** Whether to leave this request unanswered and undone until the coordinator goes away. Default never. */
  hang?(): boolean;
}

export const opening = 1_000_000_000;

export async function openBanks(folder: string, faults: BankFaults): Promise<Banks> {
  const payer = openBank(`${folder}/payer.db`, opening);
  const payee = openBank(`${folder}/payee.db`, 0);
  const banks = {
    payer: nodeHandler(handler(payerWork(payer))),
    payee: nodeHandler(handler(payeeWork(payee))),
  };
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    if (faults.hang?.() === true) return void request.resume();
    if (faults.loseAnswer()) loseAnswer(request, response);
    else if (request.url?.startsWith('/plain/') === true) hideBarrier(response);
    banks[request.url?.endsWith('/payer') === true ? 'payer' : 'payee'](request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, payer, payee, close: () => close(server, payer, payee) };
}

/** The work is done and committed; only the answer never arrives. */
function loseAnswer(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead = () => {
    request.socket.destroy();
    return response;
  };
}

/** Below `/plain/`: the answers are kept, but nobody says so, as with a participant that has its own ways. */
function hideBarrier(response: ServerResponse): void {
  const writeHead = response.writeHead.bind(response);
  response.writeHead = (status: number, headers?: unknown) => {
    const { 'settle-barrier': _, ...rest } = headers as OutgoingHttpHeaders;
    return writeHead(status, rest);
  };
}

function openBank(path: string, balance: number): Bank {
  const db = new DatabaseSync(path);
  // The judge outlives every crash of the test, so its own disk need not be waited for.
  db.exec(`pragma journal_mode = wal; pragma synchronous = off;
    create table account (balance integer not null, held integer not null);
    create table entry (gid text not null, branch text not null, op text not null, delta integer not null);
    insert into account values (${balance}, 0)`);
  const barrier = sqliteBarrier(db);
  barrier.migrate();
  return { db, barrier };
}

/** Moves money, and writes down that it did. */
function book(
  db: DatabaseSync,
  call: Pick<ParticipantCall, 'gid' | 'branch' | 'op'>,
  delta: number,
  held = 0,
): void {
  db.prepare('insert into entry values (?, ?, ?, ?)').run(call.gid, call.branch, call.op, delta);
  db.prepare('update account set balance = balance + ?, held = held + ?').run(delta, held);
}

function payerWork({ db, barrier }: Bank): (call: ParticipantCall) => Promise<void> {
  return async (call) => {
    if (call.op === 'check') return barrier.check(call);
    return barrier.run(call, () => {
      const { amount } = call.payload as unknown as Transfer;
      if (call.op === 'action') book(db, call, -amount);
      else if (call.op === 'compensate') book(db, call, amount);
      else if (call.op === 'try') book(db, call, -amount, amount);
      else if (call.op === 'confirm') book(db, call, 0, -amount);
      else book(db, call, amount, -amount);
    });
  };
}

function payeeWork({ db, barrier }: Bank): (call: ParticipantCall) => Promise<void> {
  return (call) =>
    barrier.run(call, () => {
      const { amount, refuse = false } = call.payload as unknown as Transfer;
      if ((call.op === 'action' || call.op === 'try') && refuse) throw new Refused('the account is closed');
      if (call.op === 'action') book(db, call, amount);
      else if (call.op === 'compensate') book(db, call, -amount);
      else if (call.op === 'try') book(db, call, 0, amount);
      else if (call.op === 'confirm') book(db, call, amount, -amount);
      else book(db, call, 0, -amount);
    });
}

/** The local transaction of a message's producer: the payer is debited if and only if the message goes out. */
export function debitLocally({ db, barrier }: Bank, gid: string, amount: number): Promise<void> {
  return barrier.prepare(gid, () =>
    book(db, { gid, branch: 'producer', op: 'action' } as ParticipantCall, -amount),
  );
}

function close(server: Server, ...banks: readonly Bank[]): Promise<void> {
  return new Promise((resolve) => {
    server.closeAllConnections();
    server.close(() => {
      for (const { db } of banks) db.close();
      resolve();
    });
  });
}
