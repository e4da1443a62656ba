import type { HttpExchange } from '../http/exchange.ts';
import { nodeExchange } from '../http/node-exchange.ts';

export interface OwnExchange {
  readonly exchange: HttpExchange;
  readonly close: () => Promise<void>;
}

/** An exchange that was passed in belongs to whoever made it; one made here is closed here. */
export function ownExchange(given: HttpExchange | undefined): OwnExchange {
  if (given !== undefined) return { exchange: given, close: () => Promise.resolve() };
  const exchange = nodeExchange();
  return { exchange, close: () => exchange.close() };
}
