/** Which route of which service does what, for each operation that may be asked of it. */
import type { Json } from 'settle/core';
import type { SqlQuery } from '../databases/service-database.ts';
import type { ByService } from '../service-names.ts';
import type { OrderPayload } from './order-payload.ts';
import * as orders from './orders.ts';
import * as stock from './stock.ts';
import * as wallet from './wallet.ts';

/** Writes through the query it is given, in the transaction that is open there. Throws `Refused` to say no. */
export type Work = (query: SqlQuery, orderId: string, order: OrderPayload) => Promise<Json | void>;

export type WorkOp = 'action' | 'compensate' | 'try' | 'confirm' | 'cancel';

export type RouteWork = Readonly<Partial<Record<WorkOp, Work>>>;

export const business: ByService<Readonly<Record<string, RouteWork>>> = {
  orders: {
    '/saga/create': { action: orders.createOrder, compensate: orders.cancelOrder },
    '/saga/accept': { action: orders.acceptOrder },
    '/tcc': { try: orders.createOrder, confirm: orders.acceptOrder, cancel: orders.cancelOrder },
  },
  stock: {
    '/saga': { action: stock.reserve, compensate: stock.release },
    '/tcc': { try: stock.hold, confirm: stock.sellHeld, cancel: stock.freeHeld },
    '/message': { action: stock.deliver },
  },
  wallet: {
    '/saga': { action: wallet.charge, compensate: wallet.refund },
    '/tcc': { try: wallet.hold, confirm: wallet.takeHeld, cancel: wallet.freeHeld },
    '/message': { action: wallet.bill },
  },
};

/** Where nothing may say no: after the pivot, and in messages. */
export function mayRefuse(path: string): boolean {
  return path !== '/saga/accept' && path !== '/message';
}
