/** `settle/wire`: what crosses the network, parsed and printed. */
export * from './classify.ts';
export * from './headers.ts';
export * from './signature.ts';
