import type { Json, JsonObject } from 'settle/core';
import type { DemoPattern, OrderLine } from '../order-stream.ts';

/** What every branch of an order is told. */
export interface OrderPayload {
  readonly pattern: DemoPattern;
  readonly customer: number;
  readonly lines: readonly OrderLine[];
  readonly totalCents: number;
  /** The number that orders gave; wallet writes it on the payment. */
  readonly reference?: number;
}

/** Reads a payload that came over the wire. Throws when it is not an order. */
export function parseOrder(value: Json | undefined): OrderPayload {
  if (!isObject(value)) throw new TypeError('the payload is no object');
  const { pattern, customer, lines, totalCents, reference } = value;
  if (pattern !== 'saga' && pattern !== 'tcc' && pattern !== 'message') {
    throw new TypeError('the payload names no pattern');
  }
  if (typeof customer !== 'number' || typeof totalCents !== 'number' || !Array.isArray(lines)) {
    throw new TypeError('the payload is no order');
  }
  const order: OrderPayload = { pattern, customer, lines: lines.map(parseLine), totalCents };
  return typeof reference === 'number' ? { ...order, reference } : order;
}

function parseLine(value: unknown): OrderLine {
  if (!isObject(value) || typeof value['sku'] !== 'string' || typeof value['quantity'] !== 'number') {
    throw new TypeError('a line names no product or quantity');
  }
  return { sku: value['sku'], quantity: value['quantity'] };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
