/** Does all, in order of their beginning, so many at a time; the results are in the order of the items. `work` must not reject. */
export async function manyAtOnce<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Promise<Result>[] = [];
  const underWay = new Set<Promise<Result>>();
  for (const item of items) {
    if (underWay.size >= limit) await Promise.race(underWay);
    const working = work(item);
    results.push(working);
    underWay.add(working);
    void working.then(() => underWay.delete(working));
  }
  return Promise.all(results);
}
