import type { OutgoingMessage, Publisher, PublishResult } from '../../lib/src/relay/index.ts';
import { Count } from './kill/count.ts';

/** A publisher that remembers, in order, what it has published, and fails where it is told to. */
export class Recorder implements Publisher {
  readonly name = 'test';
  readonly order: Publisher['order'];
  readonly published: OutgoingMessage[] = [];
  readonly count = new Count('messages are published');
  /** Whether a message fails, and is tried again. */
  fails: (message: OutgoingMessage) => boolean = () => false;
  /** What a batch waits for before it is published. */
  before: (batch: readonly OutgoingMessage[]) => Promise<unknown> = () => Promise.resolve();

  constructor(order: Publisher['order'] = 'stops-at-failure') {
    this.order = order;
  }

  get ids(): readonly string[] {
    return this.published.map(({ id }) => id);
  }

  async publish(batch: readonly OutgoingMessage[]): Promise<readonly PublishResult[]> {
    await this.before(batch);
    const stopped = new Set<string>();
    return batch.map((message): PublishResult => {
      const { key } = message;
      if (this.fails(message) || (key !== undefined && stopped.has(key))) {
        if (key !== undefined && this.order === 'stops-at-failure') stopped.add(key);
        return { kind: 'retriable', reason: 'as told' };
      }
      this.published.push(message);
      this.count.add();
      return { kind: 'published' };
    });
  }
}
