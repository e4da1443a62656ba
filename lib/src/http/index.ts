/** `settle/http`: one request and its complete answer, held to a deadline and to limits; and which addresses may be asked. */
export * from './address-guard.ts';
export * from './allow-addresses.ts';
export * from './exchange.ts';
export * from './node-exchange.ts';
export { ExchangesUnderWay, type PendingExchange } from './pending-exchange.ts';
