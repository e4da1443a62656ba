/** `settle/wire`: what crosses the network, parsed and printed. */
export * from './classify.ts';
export * from './headers.ts';
export * from './signature.ts';
export * from './digest.ts';
export * from './json.ts';
export * from './openapi.ts';
export * from './problem.ts';
export * from './query.ts';
export * from './requests.ts';
export * from './routes.ts';
export * as schema from './schema.ts';
export * from './transaction.ts';
