/**
 * What a cluster of Redis makes a key's slot from: what stands between the first brace and the next closing one, if that
 * is anything, else the whole key (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
 */
export function hashTagOf(key: string): string {
  const opening = key.indexOf('{');
  const closing = key.indexOf('}', opening + 1);
  return opening === -1 || closing <= opening + 1 ? key : key.slice(opening + 1, closing);
}
