/** Breadth-first search over every world a setting can lead to: small worlds enumerated fully. */
import { check, firstWorld, InvariantBroken, moves, type Setting, type World } from './protocol-world.ts';

export interface Exploration {
  readonly worlds: number;
  /** Worlds in which the transaction ended, by how. */
  readonly ends: Readonly<Record<string, number>>;
}

/**
 * Visits all worlds of a setting and checks the invariants in each.
 * Throws {@link InvariantBroken} with the shortest way there, or when there are more than `worldsMax` worlds.
 */
export function explore(setting: Setting, worldsMax: number, visit?: (world: World) => void): Exploration {
  const seen = new Seen();
  const first = firstWorld(setting);
  const ends: Record<string, number> = {};
  let frontier: readonly Visited[] = [{ world: first, move: 'start', from: undefined }];
  seen.add(first);
  while (frontier.length > 0) {
    const next: Visited[] = [];
    for (const from of frontier) {
      const { kind } = from.world.state;
      ends[kind] = (ends[kind] ?? 0) + 1;
      telling(from, () => visit?.(from.world));
      for (const move of telling(from, () => moves(setting, from.world))) {
        const reached: Visited = { world: from.world, move: move.name, from };
        const world = telling(reached, () => move.next());
        if (!seen.add(world)) continue;
        const visited: Visited = { world, move: move.name, from };
        telling(visited, () => check(setting, world));
        next.push(visited);
      }
    }
    if (seen.count > worldsMax) throw new InvariantBroken(`more than ${worldsMax} worlds`);
    frontier = next;
  }
  return { worlds: seen.count, ends };
}

interface Visited {
  readonly world: World;
  readonly move: string;
  readonly from: Visited | undefined;
}

/** Adds to whatever is thrown how the world came about. */
function telling<T>(visited: Visited, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const way: string[] = [];
    for (let at: Visited | undefined = visited; at !== undefined; at = at.from) way.unshift(at.move);
    const what = error instanceof Error ? error.message : String(error);
    throw new InvariantBroken(`${what}\n${way.join('\n')}`, { cause: error });
  }
}

/** Worlds share most of their parts, so the parts are numbered and a world is the numbers of its parts. */
class Seen {
  readonly #parts = new Map<string, number>();
  readonly #worlds = new Set<string>();

  get count(): number {
    return this.#worlds.size;
  }

  add({ state, saved, ...rest }: World): boolean {
    const key = `${this.#number(state)} ${this.#number(saved)} ${this.#number(rest)}`;
    if (this.#worlds.has(key)) return false;
    this.#worlds.add(key);
    return true;
  }

  #number(part: unknown): number {
    const text = JSON.stringify(part);
    const known = this.#parts.get(text);
    if (known !== undefined) return known;
    this.#parts.set(text, this.#parts.size);
    return this.#parts.size - 1;
  }
}
