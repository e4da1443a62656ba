import type { Row } from './line.ts';
import type { OutgoingMessage } from './publisher.ts';

/** A message in memory, as its publisher gets it. */
export function outgoingOf({ message, attempts }: Row): OutgoingMessage {
  const { id, type, version, address, key, payload, headers, createdAtMs } = message;
  const contentType = 'application/json';
  const attempt = attempts + 1;
  return { id, type, version, address, key, payload, contentType, headers, createdAtMs, attempt };
}
