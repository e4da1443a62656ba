/** How the engine reaches branches: over HTTP, or as functions of this process. */
export * from './function-caller.ts';
export * from './http-caller.ts';
export * from './route-caller.ts';
