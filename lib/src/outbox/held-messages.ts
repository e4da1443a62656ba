/**
 * The messages of one transaction that wait for its commit.
 *
 * - H1 What is written is what was sent in scopes that survive, in the order of the sends.
 * - H2 A send whose schema takes its time has its place from the moment it was called, and the commit waits for it. One that
 *   turns out to be invalid only then fails the transaction: nobody could hear of it any more.
 * - H3 Before the commit messages are written only within the very savepoint they belong to, and only while nothing that was
 *   sent in a scope around it is held back: what comes first is written first, and undone with its own scope alone.
 * - H4 What could not be written fails the transaction, whoever caught the error, unless its savepoint is undone.
 */
import type { Level } from '../local/level.ts';
import { SettleError } from '../util/errors.ts';
import type { MaybePromise } from '../util/maybe-promise.ts';
import type { Draft } from './draft.ts';
import { heldMax, heldWished } from './limits.ts';

/** Writes messages in their transaction, and gives back how many: some may be there already. */
export type WriteDrafts = (drafts: readonly Draft[]) => Promise<number>;

/** One call of `send` or `sendMany`, of at least one message. */
interface Sending {
  readonly level: Level;
  state: SendingState;
}

type SendingState =
  /** H2 */
  | { readonly kind: 'checking'; readonly drafts: Promise<readonly Draft[]> }
  | { readonly kind: 'held'; readonly drafts: readonly Draft[] }
  | { readonly kind: 'written' }
  /** It was invalid, or written by others before. */
  | { readonly kind: 'nothing' }
  /** H4 */
  | { readonly kind: 'failed'; readonly error: unknown };

const written: SendingState = { kind: 'written' };
const nothing: SendingState = { kind: 'nothing' };

export class HeldMessages {
  #sendings: Sending[] = [];
  #messages = 0;
  #bytes = 0;
  /** With less than that, there is no use in looking whether some may be written now. */
  #lookAt: Readonly<Record<'messages' | 'bytes', number>> = heldWished;
  #writing: Promise<void> | undefined;

  /** Whether there is room for them without writing any. */
  hasRoomFor(drafts: readonly Draft[]): boolean {
    const messages = this.#messages + drafts.length;
    return messages <= heldMax.messages && this.#bytes + bytesOf(drafts) <= heldMax.bytes;
  }

  /** There has to be room. */
  add(level: Level, drafts: readonly Draft[]): void {
    this.#count(drafts);
    this.#sendings.push({ level, state: { kind: 'held', drafts } });
  }

  /**
   * H2. Where there is no room by then, makes some by writing what may be written. Rejects as `drafts` and `write` do, and with
   * `limit_exceeded`, with nothing added.
   */
  addLater(
    level: Level,
    drafts: MaybePromise<readonly Draft[]>,
    write: WriteDrafts,
  ): Promise<readonly Draft[]> {
    const admit = async (): Promise<readonly Draft[]> => {
      try {
        const checked = await drafts;
        while (!this.hasRoomFor(checked)) {
          if (this.#writing !== undefined) await this.#quiet();
          else if (!(await this.#writeEarly(level, write)) && !this.hasRoomFor(checked)) throw tooMuch();
        }
        this.#count(checked);
        sending.state = { kind: 'held', drafts: checked };
        return checked;
      } catch (error) {
        sending.state = nothing;
        throw error;
      }
    };
    const sending: Sending = { level, state: nothing };
    this.#sendings.push(sending);
    const admitted = admit();
    sending.state = { kind: 'checking', drafts: admitted };
    return admitted;
  }

  /** Whether it holds so much that some of it had better be written now. */
  get isMuch(): boolean {
    return this.#messages >= this.#lookAt.messages || this.#bytes >= this.#lookAt.bytes;
  }

  /** Writes what may be written in this savepoint now (H3), unless somebody does that already. */
  async relieve(level: Level, write: WriteDrafts): Promise<void> {
    if (this.#writing === undefined) await this.#writeEarly(level, write);
  }

  /** Whether there are messages that are written, and not undone. */
  get hasWritten(): boolean {
    return this.#sendings.some(({ level, state }) => state.kind === 'written' && !isUndone(level));
  }

  /** Writes all that survives; called at the end of the transaction. */
  async writeAll(write: WriteDrafts): Promise<void> {
    await this.#quiet();
    for (;;) {
      this.#tidy();
      const checking = this.#sendings.flatMap(({ state }) =>
        state.kind === 'checking' ? [state.drafts] : [],
      );
      if (checking.length === 0) break;
      await Promise.all(checking);
    }
    for (const { state } of this.#sendings) if (state.kind === 'failed') throw state.error;
    await this.#write(this.#sendings, write);
  }

  /** Waits for the writing that is under way. How that went is told to whoever asked for it. */
  async #quiet(): Promise<void> {
    await this.#writing?.catch(() => {});
  }

  /** H3. Gives back whether there was anything that could be written. */
  async #writeEarly(level: Level, write: WriteDrafts): Promise<boolean> {
    this.#tidy();
    const writable = this.#writableIn(level);
    await this.#write(writable, write);
    this.#lookAt = {
      messages: this.#messages + heldWished.messages,
      bytes: this.#bytes + heldWished.bytes,
    };
    return writable.length > 0;
  }

  /** H3 */
  #writableIn(level: Level): readonly Sending[] {
    const writable: Sending[] = [];
    for (const sending of this.#sendings) {
      const { kind } = sending.state;
      if (kind !== 'held' && kind !== 'checking') continue;
      const home = homeOf(sending.level);
      if (home === level && kind === 'checking') return writable;
      if (home === level) writable.push(sending);
      else if (isAround(home, level)) return [];
    }
    return writable;
  }

  /** Those of them that are held, in their order. Only one such call at a time. */
  async #write(sendings: readonly Sending[], write: WriteDrafts): Promise<void> {
    const due = sendings.filter(({ state }) => state.kind === 'held');
    const drafts = due.flatMap(({ state }) => (state.kind === 'held' ? state.drafts : []));
    if (drafts.length === 0) return;
    const became = (state: SendingState): void => {
      for (const sending of due) sending.state = state;
      this.#writing = undefined;
      this.#recount();
    };
    this.#writing = write(drafts).then(
      (count) => became(count > 0 ? written : nothing),
      (error: unknown) => {
        became({ kind: 'failed', error });
        throw error;
      },
    );
    await this.#writing;
  }

  #count(drafts: readonly Draft[]): void {
    this.#messages += drafts.length;
    this.#bytes += bytesOf(drafts);
  }

  /** Forgets what is undone, and keeps of what is written only in which levels that was. */
  #tidy(): void {
    const writtenIn = new Set<Level>();
    this.#sendings = this.#sendings.filter(({ level, state }) => {
      if (isUndone(level) || state.kind === 'nothing') return false;
      if (state.kind !== 'written') return true;
      return writtenIn.size < writtenIn.add(homeOf(level)).size;
    });
    this.#recount();
  }

  #recount(): void {
    this.#messages = this.#bytes = 0;
    for (const { state } of this.#sendings) {
      if (state.kind !== 'held') continue;
      this.#messages += state.drafts.length;
      this.#bytes += bytesOf(state.drafts);
    }
  }
}

/** Where what happened in a level is part of by now: a level that is open, or undone. */
function homeOf(level: Level): Level {
  return level.fate === 'released' && level.parent !== undefined ? homeOf(level.parent) : level;
}

function isUndone(level: Level): boolean {
  return homeOf(level).fate === 'undone';
}

function isAround(outer: Level, { parent }: Level): boolean {
  return parent !== undefined && (parent === outer || isAround(outer, parent));
}

function bytesOf(drafts: readonly Draft[]): number {
  return drafts.reduce((sum, { bytes }) => sum + bytes, 0);
}

function tooMuch(): SettleError {
  return new SettleError(
    'limit_exceeded',
    `a transaction holds back at most ${heldMax.messages} messages and ${heldMax.bytes} bytes of them until it commits`,
    { next: 'Await every send, send in the scope that began sending, or do less in one transaction' },
  );
}
