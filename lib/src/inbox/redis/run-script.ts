import { messageOf, SettleError } from '../../util/errors.ts';
import type { RedisCommands } from '../../util/redis-commands.ts';

/** Runs a script. Throws `unavailable` when Redis does not answer, or refuses: then it may have happened. */
export async function runScript(
  commands: RedisCommands,
  script: string,
  keys: readonly string[],
  values: readonly string[],
): Promise<unknown> {
  try {
    return await commands.send('EVAL', script, String(keys.length), ...keys, ...values);
  } catch (cause) {
    throw new SettleError('unavailable', `the inbox: Redis failed: ${messageOf(cause)}`, {
      next: 'It is tried again, and then is a duplicate if it has happened',
      retryAfterMs: 1_000,
      cause,
    });
  }
}
