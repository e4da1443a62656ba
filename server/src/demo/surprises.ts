/** The first child that ended although nobody wanted it to. */
export function surprises(): { readonly raised: Promise<never>; readonly report: (error: Error) => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  // It may come while nobody waits for it; then whoever waits next hears of it.
  promise.catch(() => undefined);
  return { raised: promise, report: reject };
}
