/** The peers that can run beside us in the same run: `--peers restate,dbos`. */
import { openDbos } from './peers/dbos.ts';
import type { Peer } from './peers/peer.ts';
import { openRestate } from './peers/restate.ts';

const known: Readonly<Record<string, () => Promise<Peer>>> = { restate: openRestate, dbos: openDbos };

export interface Peers {
  readonly ready: readonly Peer[];
  /** Those that cannot run here, with the reason and what to install. */
  readonly missing: readonly { readonly name: string; readonly reason: string }[];
}

/** Installs what the peers need outside the workspace. An unknown name throws; one that cannot run here is `missing`. */
export async function openPeers(names: readonly string[]): Promise<Peers> {
  const unknown = names.filter((name) => !Object.hasOwn(known, name));
  if (unknown.length > 0)
    throw new Error(`no peer ${unknown.join(', ')}; there are ${Object.keys(known).join(', ')}`);
  const ready: Peer[] = [];
  const missing: { name: string; reason: string }[] = [];
  for (const name of names) {
    try {
      const open = known[name];
      if (open !== undefined) ready.push(await open());
    } catch (error) {
      missing.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { ready, missing };
}
