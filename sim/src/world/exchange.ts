/**
 * HTTP as the coordinators know it, over the simulated network: one request, and its answer or why there is none.
 * The real caller and the real classification stand before it.
 */
import type { HttpExchange, HttpFailure, HttpReply } from '../../../lib/src/http/exchange.ts';
import { assert } from '../../../lib/src/util/assert.ts';
import type { Network } from './network.ts';
import type { Participant } from './participant.ts';
import type { Process } from './process.ts';
import type { Rng } from './random.ts';
import type { Recorder } from './recorder.ts';
import type { Schedule } from './schedule.ts';

export interface ExchangeWorld {
  readonly schedule: Schedule;
  readonly network: Network;
  readonly recorder: Recorder;
  readonly participants: ReadonlyMap<string, Participant>;
}

/** `place`: where the coordinator stands in the network. `callOf`: the record of the call that is being sent right now. */
export function simulatedExchange(
  world: ExchangeWorld,
  process: Process,
  place: string,
  random: Rng,
  callOf: () => number,
): HttpExchange {
  const { schedule, network, recorder, participants } = world;
  return (request, signal) =>
    new Promise((resolve) => {
      const call = callOf();
      const participant = participants.get(request.origin);
      assert(participant !== undefined, `${request.origin} is a participant`);
      let settled = false;
      const settle = (reply: HttpReply): void => {
        if (settled) return recorder.sometimes('network: an answer came too late');
        settled = true;
        cancel();
        signal.removeEventListener('abort', aborted);
        resolve(reply);
      };
      const failed = (failure: HttpFailure, sent: boolean): void => {
        recorder.sometimes(`exchange: ${failure}`);
        settle({ kind: 'failed', failure, sent, detail: 'in the simulator' });
      };
      const cancel = process.clock.schedule(request.timeoutMs, () => failed('timeout', true));
      const aborted = (): void => failed('aborted', true);
      signal.addEventListener('abort', aborted, { once: true });

      // What is lost on the way shows at once as a reset, or never.
      const lost = (): void => {
        if (random.chance(0.5))
          schedule.after(1 + random.next() * 20, () => process.tell(() => failed('reset', true)));
      };
      process.tell(() =>
        network.send(
          place,
          participant.name,
          () =>
            participant.receive(
              request,
              call,
              (reply) => network.send(participant.name, place, () => process.tell(() => settle(reply)), lost),
              () => schedule.after(1, () => process.tell(() => failed('refused-connection', false))),
            ),
          lost,
        ),
      );
    });
}
