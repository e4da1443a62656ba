// The cases in which outboxes are known to lose, reorder or stall, and the tests which show that ours does not. A test that is
// renamed, skipped or gone has to be named here anew.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Edge {
  readonly title: string;
  /** By file: its titles. */
  readonly tests: Readonly<Record<string, readonly string[]>>;
  /** What is known to be missing. */
  readonly notYet?: string;
}

const kills = 'test/relay/kill/kill.services.test.ts';
const cases = 'test/relay/edge-cases.services.test.ts';
const relay = 'lib/src/relay/relay.test.ts';
const contract = 'lib/src/relay/store-contract';
const publishers = 'lib/src/relay/publisher-contract.ts';
const outbox = 'lib/src/outbox/outbox.test.ts';
const writers = 'test/outbox/writers.services.test.ts';
const sending = 'test/outbox/sending-contract.ts';
const postgresLog = 'lib/src/relay/log/postgres/postgres-log.services.test.ts';
const mysqlLog = 'lib/src/relay/log/mysql/mysql-log.services.test.ts';
const plans = 'lib/src/relay/sql-store/plans.services.test.ts';

const edges: readonly Edge[] = [
  {
    title: 'two relays, killed at each of {claimed, published, before mark}',
    tests: {
      [kills]: [
        'of a relay, with another one beside it, at the moment: %s',
        'of two relays and a writer, ${kills} times at random: nothing lost, nothing made up, keys in order',
      ],
    },
  },
  {
    title: 'the broker killed',
    tests: {
      'test/relay/kill/brokers.services.test.ts': [
        '$name, $kills times: every committed order takes effect once, in the order of its key',
      ],
    },
  },
  {
    title: 'lease expiry while publishing',
    tests: {
      [relay]: ['is not settled by the one that hangs'],
      [`${contract}/settling.ts`]: [
        'under a token that does not stand nothing changes, and the lane is told to be lost',
      ],
    },
  },
  {
    title: 'clock skew',
    tests: {
      [`${contract}/leases.ts`]: ['a relay whose own clock is an hour off changes nothing'],
      [cases]: [
        'a relay whose clock is off by %i ms tries again, and publishes what was delayed, when it is due',
      ],
    },
  },
  {
    title: 'poison first in a hot lane',
    tests: {
      [relay]: [
        'that is poison is a dead letter at once',
        'with its whole batch harms no neighbour, and is the one that is given up',
        'is found alone, becomes a dead letter, and its neighbours are published',
      ],
    },
  },
  {
    title: 'one key with a backlog of 100,000',
    tests: {
      [cases]: [
        'of 100,000 messages is published, each once and in order',
        'whose first message fails holds up no other key of its lane, and is not overtaken by its own',
      ],
    },
  },
  {
    title: 'a retried head does not starve the tail in unordered mode',
    tests: {
      [relay]: ['comes later without order, and holds up nothing'],
      [cases]: [
        'messages that fail first hold up none behind them where there is no order, however many they are',
      ],
    },
  },
  {
    title: 'a transaction that reads for long',
    tests: {
      [`${contract}/reading.ts`]: [
        'a transaction that has been reading for long hides nothing, and holds nothing up',
      ],
      [cases]: [
        'a transaction that reads all the while holds up nothing, though what is deleted cannot be cleaned away',
      ],
    },
  },
  {
    title: 'a huge payload',
    tests: {
      [writers]: ['a huge payload is stored, or fails its transaction alone: it is never cut off'],
      [publishers]: ['calls a message that is too large poison, and publishes its neighbours'],
      [cases]: ['payloads of 8 MB are published in order although memory may hold two of them'],
    },
  },
  {
    title: 'unroutable',
    tests: {
      [publishers]: [
        'never calls published what no place of the broker keeps',
        'publishes what goes elsewhere than to an unknown address beside it',
      ],
      'lib/src/relay/publishers/rabbitmq.services.test.ts': [
        'never calls published what no queue took, and publishes its neighbours',
      ],
    },
  },
  {
    title: 'the broker down for an hour: retry budget against order',
    tests: {
      [relay]: [
        'that is down costs its messages no attempt, and gets all in order when it is back',
        'that throws for an hour buries nothing',
      ],
    },
  },
  {
    title: 'replay of a dead letter with the same id: the inbox skips it',
    tests: {
      'lib/src/consumer/outbox-to-inbox.test.ts': [
        'replay of a dead letter with the same id: the inbox skips what was delivered after all',
      ],
    },
  },
  {
    title: 'a send inside a savepoint that is rolled back vanishes',
    tests: {
      [outbox]: [
        'not those of a savepoint that is rolled back, but those of one released, in the order of sends',
      ],
      [sending]: ['what is undone is not there, and what is left is in order'],
    },
  },
  { title: 'a send with no transaction is an error', tests: { [outbox]: ['a send is refused'] } },
  {
    title: 'a send in a transaction that ends unknown',
    tests: { [outbox]: ['may be %s: the message is, too, and who listens looks'] },
  },
  {
    title: 'the slot is dropped',
    tests: {
      [postgresLog]: ['is gone with a slot that was dropped: a new one is made, and the table looked at'],
      [mysqlLog]: ['that the log does not have any more is left for its end, and the table looked at'],
    },
  },
  {
    title: 'failover',
    tests: {
      'test/relay/restart.services.test.ts': [
        'wakes by %s after the server was killed, and looks for what was missed',
        'wakes by the binary log after the server was killed, with the name %s',
      ],
      'lib/src/relay/sql-store/failures.services.test.ts': [
        'after all connections were killed while idle, it works again by itself',
      ],
    },
    notYet:
      'a copy that lacks the last transactions gives their numbers again: a relay may settle the wrong message there',
  },
  {
    title: 'rolling deploy with an unknown type or target: kept, not buried',
    tests: {
      [cases]: [
        'a relay that has never heard of a type or a target publishes the one, and leaves the other to those that have',
      ],
      [relay]: ['keeps messages for whose target it has no publisher, and says so'],
      'lib/src/consumer/consumer.test.ts': ['%s stays with its broker, after a pause'],
    },
  },
  {
    title: 'ORDER BY not on an index',
    tests: { [plans]: ['reads of %s follow the primary key, and sort nothing'] },
  },
  {
    title: 'numbers beyond 2^53',
    tests: {
      [`${contract}/reading.ts`]: ['numbers beyond 2^53 are exact'],
      [`${contract}/leases.ts`]: ['tokens beyond 2^53 are exact'],
    },
  },
  {
    title: 'case and collation of keys',
    tests: {
      [`${contract}/reading.ts`]: [
        'keys and ids that differ only in case, or in a space at the end, are kept apart',
      ],
      [sending]: ['keys and ids are kept byte by byte'],
      'test/inbox/contract.ts': ['compares ids and names of consumers byte by byte'],
    },
  },
  {
    title: 'deadlock by the order of locks per key',
    tests: {
      [writers]: ['%s in opposite orders meet no deadlock'],
      'lib/src/outbox/writer.test.ts': ['take locks in ascending order, each once'],
    },
  },
  {
    title: 'a graceful stop drains, and releases the leases',
    tests: {
      [cases]: [
        'a relay that stops under load finishes what it has begun, and the other one has its lanes at once',
      ],
      [relay]: ['of a relay waits for what is under way, and gives the lanes back'],
    },
  },
];

test.each(edges)('$title', ({ tests }) => {
  expect(Object.keys(tests)).not.toEqual([]);
  for (const [file, titles] of Object.entries(tests)) {
    const source = readFileSync(join(root, file), 'utf8');
    expect(
      titles.filter((title) => !isRun(source, title)),
      `no longer run in ${file}`,
    ).toEqual([]);
  }
});

/** Whether a test, a group or a fact of a contract bears this title, and is neither skipped nor expected to fail. */
function isRun(source: string, title: string): boolean {
  const at = ["'", '"', '`']
    .map((quote) => source.indexOf(quote + title + quote))
    .find((from) => from !== -1);
  if (at === undefined) return false;
  const calls = [...source.slice(0, at).matchAll(/\b(?:it|test|describe)((?:\.\w+)*)[(<]/g)];
  return !/\.(?:skip|todo|fails)\b/.test(calls.at(-1)?.[1] ?? '');
}

describe('a test', () => {
  test.each([
    ["it('is there', () => {", true],
    ["it.each(rows)(\n  'is there',", true],
    ["  'is there': {", true],
    ["it.skip('is there', () => {", false],
    ["test.fails('is there', () => {", false],
    ["it('is there no more', () => {", false],
  ])('is told from one that is none: %j', (source, expected) => {
    expect(isRun(source, 'is there')).toBe(expected);
  });
});

test('what is missing is known by name', () => {
  const missing = edges.filter(({ notYet }) => notYet !== undefined).map(({ title }) => title);
  expect(missing).toEqual(['failover']);
  expect(readFileSync(join(root, cases), 'utf8')).toContain('it.fails(');
});
