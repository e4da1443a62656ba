export async function measurePeers(names: readonly string[], levels: readonly number[], durationMs: number): Promise<string> {
  await Promise.resolve();
  return `${names.join()} ${levels.join()} ${durationMs}`;
}
