/** Dead letters in Redis: their ids in the order they died, and beside it the letters by id. */
import { SettleError } from '../../util/errors.ts';
import { isJsonObject } from '../../util/json.ts';
import type { RedisCommands } from '../../util/redis-commands.ts';
import {
  checkLimit,
  checkQuery,
  cursorOf,
  deadCauseIn,
  deadLimitMax,
  placeOf,
  storableReason,
  type InboxDeadLetter,
  type InboxDeadLetters,
  type InboxDeadQuery,
} from '../dead-letters.ts';
import { consumerName } from '../message-key.ts';
import { runScript } from './run-script.ts';
import { bury, exhume, look } from './scripts.ts';

/** Letters that are read at once. */
const batch = 100;

export function redisDeadLetters(commands: RedisCommands, prefix: string): InboxDeadLetters {
  /** One tag, so that a cluster has both in one place. */
  const keysOf = (consumer: string): readonly [order: string, letters: string] => {
    const own = `${prefix}:{${consumerName(consumer)}}`;
    return [`${own}:dead`, `${own}:letters`];
  };

  /** Those that match, in order. */
  async function* found(query: InboxDeadQuery, cursor: string | undefined): AsyncGenerator<InboxDeadLetter> {
    checkQuery(query);
    const after = cursor === undefined ? undefined : placeOf(cursor);
    const from = String(after?.diedAtMs ?? 0);
    for (let offset = 0; ; offset += batch) {
      const values = [from, String(offset), String(batch)];
      const texts = textsOf(await runScript(commands, look, keysOf(query.consumer), values));
      if (texts.length === 0) return;
      for (let at = 0; at < texts.length; at += 3) {
        const [messageId = '', diedAt, text = ''] = texts.slice(at, at + 3);
        const letter = letterOf({ consumer: query.consumer, messageId, diedAtMs: Number(diedAt) }, text);
        if (isAfter(letter, after) && matches(letter, query)) yield letter;
      }
    }
  }

  async function first(query: InboxDeadQuery, limit: number, cursor?: string): Promise<InboxDeadLetter[]> {
    const items: InboxDeadLetter[] = [];
    for await (const letter of found(query, cursor)) {
      items.push(letter);
      if (items.length >= limit) break;
    }
    return items;
  }

  return {
    async add({ consumer, messageId, message, cause, reason, attempts }) {
      const letter = JSON.stringify({ message, cause, reason: storableReason(reason), attempts });
      await runScript(commands, bury, keysOf(consumer), [messageId, letter]);
    },
    async list(query, { limit, cursor }) {
      checkLimit(limit);
      const letters = await first(query, limit + 1, cursor);
      const items = letters.slice(0, limit);
      const last = items.at(-1);
      return { items, next: letters.length > limit && last !== undefined ? cursorOf(last) : undefined };
    },
    async purge(query, limit = deadLimitMax) {
      checkLimit(limit);
      const letters = await first(query, limit);
      if (letters.length === 0) return 0;
      const pairs = letters.flatMap(({ messageId, diedAtMs }) => [messageId, String(diedAtMs)]);
      return Number(await runScript(commands, exhume, keysOf(query.consumer), pairs));
    },
  };
}

function letterOf(
  place: Pick<InboxDeadLetter, 'consumer' | 'messageId' | 'diedAtMs'>,
  text: string,
): InboxDeadLetter {
  const stored: unknown = JSON.parse(text);
  if (!isJsonObject(stored)) throw new SettleError('internal', `the dead letter ${place.messageId} is none`);
  const { message, cause, reason, attempts } = stored;
  return {
    ...place,
    message: typeof message === 'string' ? message : '',
    cause: deadCauseIn(cause),
    reason: typeof reason === 'string' ? reason : '',
    attempts: Number(attempts),
  };
}

type Place = Pick<InboxDeadLetter, 'diedAtMs' | 'messageId'>;

/** Redis orders ids of one time by their bytes. */
function isAfter(letter: Place, place: Place | undefined): boolean {
  if (place === undefined || letter.diedAtMs > place.diedAtMs) return true;
  return Buffer.compare(Buffer.from(letter.messageId), Buffer.from(place.messageId)) > 0;
}

function matches(letter: InboxDeadLetter, { messageIds, cause, diedBeforeMs }: InboxDeadQuery): boolean {
  if (messageIds !== undefined && !messageIds.includes(letter.messageId)) return false;
  if (cause !== undefined && letter.cause !== cause) return false;
  return diedBeforeMs === undefined || letter.diedAtMs < diedBeforeMs;
}

function textsOf(reply: unknown): readonly string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}
