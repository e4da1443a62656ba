/**
 * Which lanes a relay should have: an even share of them. Pure: `leases` of the loop carries it out.
 *
 * Each relay takes what is free up to its share, and gives back what it has beyond it; so a relay that comes gets its part
 * within a heartbeat of the others, and that of one which dies is shared once its leases have run out.
 */
import { laneCount } from '../outbox/message.ts';
import type { Ordering } from './options.ts';
import type { LaneToken, LaneView } from './store.ts';

export interface Share {
  readonly take: readonly LaneToken[];
  /** How many to give back. */
  readonly surplus: number;
}

export function shareOf(view: LaneView, ordering: Ordering, random: () => number): Share {
  const { held, free } = view;
  if (ordering === 'global') {
    // All or nothing: one relay does the work.
    const isAll = held.length + free.length === laneCount;
    return isAll ? { take: free, surplus: 0 } : { take: [], surplus: held.length };
  }
  const share = Math.ceil(laneCount / Math.max(1, view.relays));
  if (held.length >= share) return { take: [], surplus: held.length - share };
  // Relays that see the same free lanes go for different ones.
  const start = Math.floor(random() * free.length);
  const turned = [...free.slice(start), ...free.slice(0, start)];
  return { take: turned.slice(0, share - held.length), surplus: 0 };
}
