import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 allocate everything young. Call it before the work begins.
 *
 * V8 guesses from how many objects of one place in the code survived that the next ones will, and allocates them among
 * the old ones at once. In a coordinator all that survives a collection is what happens to be under way: the guess is
 * wrong, and each object wrongly called old keeps a whole transaction from being collected while it is cheap. Measured
 * with 256 sagas in flight: collections of 13 ms instead of 3, and 0.73 of the reference's throughput instead of 0.81.
 * The flag is read at each collection, so it may be set at run time.
 */
export function allocateYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
