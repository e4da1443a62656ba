/** In place of a broker: hands each message to all who listen, in this process. */
import type { HandleMessage, IncomingMessage } from 'settle/consumer';
import type { OutgoingMessage, Publisher, PublishResult } from 'settle/relay';

export function bus(listeners: readonly HandleMessage[]): Publisher {
  async function deliver(outgoing: OutgoingMessage, signal: AbortSignal): Promise<PublishResult> {
    const message: IncomingMessage = { ...outgoing, source: outgoing.address, ref: outgoing.id };
    for (const handle of listeners) {
      const handled = await handle(message, signal);
      // It comes again, and whoever has handled it already knows it by its id.
      if (handled.kind === 'not-handled') return { kind: 'retriable', reason: handled.reason };
    }
    return { kind: 'published' };
  }

  return {
    name: 'bus',
    order: 'each-alone',
    publish: (batch, signal) => Promise.all(batch.map((message) => deliver(message, signal))),
  };
}
