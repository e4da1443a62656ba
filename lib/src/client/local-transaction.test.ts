import { describe, expect, it } from 'vitest';
import type { Coordinator } from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import type { Status, TransactionView } from '../core/patterns.ts';
import { SettleError } from '../util/errors.ts';
import { sendWithTransaction, type LocalTransactions } from './local-transaction.ts';

const gid = 'g' as Gid;
const definition = {
  name: 'm',
  check: { address: 'http://x/check' },
  targets: [{ name: 'a', deliver: { address: 'http://x/a' } }],
};
const down = new SettleError('unavailable', 'down');

function view(status: Status): TransactionView {
  return {
    gid,
    pattern: 'message',
    name: 'm',
    status,
    stuck: false,
    createdAtMs: 1,
    updatedAtMs: 1,
    branches: [],
  };
}

type Verbs = Pick<Coordinator, 'submit' | 'commit' | 'act' | 'get'>;

/** Answers as it is told to, and keeps what it was asked. */
function coordinator(
  failing: Partial<Record<keyof Verbs, Error>> = {},
): Verbs & { readonly asked: string[] } {
  const asked: string[] = [];
  const answer = async (verb: keyof Verbs, status: Status): Promise<TransactionView> => {
    asked.push(verb);
    const error = failing[verb];
    if (error !== undefined) throw error;
    return view(status);
  };
  return {
    asked,
    submit: () => answer('submit', 'prepared'),
    commit: () => answer('commit', 'delivering'),
    act: (_gid, { action }) => answer('act', 'aborted').finally(() => asked.push(action)),
    get: () => answer('get', 'delivering'),
  };
}

const honest: LocalTransactions<string> = { prepare: async (_gid, work) => work('tx') };

describe('a message with a local transaction', () => {
  it('is prepared before the work, and submitted after it (L1, L2)', async () => {
    const verbs = coordinator();
    const work = (tx: string): string => {
      verbs.asked.push(`work in ${tx}`);
      return 'done';
    };
    const { value } = await sendWithTransaction(verbs, gid, definition, honest, work, {});
    expect(value).toBe('done');
    expect(verbs.asked).toEqual(['submit', 'work in tx', 'commit']);
  });

  it('does nothing when it cannot be prepared (L1)', async () => {
    const verbs = coordinator({ submit: down });
    const sending = sendWithTransaction(verbs, gid, definition, honest, () => verbs.asked.push('work'), {});
    await expect(sending).rejects.toBe(down);
    expect(verbs.asked).toEqual(['submit']);
  });

  it('is dropped when the work threw (L3)', async () => {
    const verbs = coordinator();
    await expect(sendWithTransaction(verbs, gid, definition, honest, boom, {})).rejects.toThrow('boom');
    expect(verbs.asked).toEqual(['submit', 'act', 'abort']);
  });

  it('gives both errors when the work threw and it could not be dropped', async () => {
    const verbs = coordinator({ act: down });
    const error: unknown = await sendWithTransaction(verbs, gid, definition, honest, boom, {}).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({ errors: [new Error('boom'), down] });
  });

  it.each<[string, LocalTransactions<string>]>([
    [
      'whose commit has no answer',
      {
        async prepare(_gid, work) {
          await work('tx');
          throw new Error('connection lost');
        },
      },
    ],
    [
      'which could not begin',
      {
        async prepare() {
          throw new Error('connection lost');
        },
      },
    ],
    [
      'whose second run has no answer',
      {
        async prepare(_gid, work) {
          await Promise.resolve(work('again')).catch(() => undefined);
          await work('tx');
          throw new Error('connection lost');
        },
      },
    ],
  ])('is left to the check-back by a local transaction %s (L3)', async (_which, transactions) => {
    const verbs = coordinator();
    const sending = sendWithTransaction(verbs, gid, definition, transactions, boomAgain, {});
    await expect(sending).rejects.toThrow('connection lost');
    expect(verbs.asked).toEqual(['submit']);
  });

  it('is pending, and no failure, when the submit has no answer after the commit (L4)', async () => {
    const verbs = coordinator({ commit: down });
    const sent = await sendWithTransaction(verbs, gid, definition, honest, () => 'done', {});
    expect(sent).toMatchObject({ value: 'done', message: { status: 'pending', gid } });
  });
});

function boom(): never {
  throw new Error('boom');
}

function boomAgain(tx: string): void {
  if (tx === 'again') boom();
}
