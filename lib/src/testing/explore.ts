/** Breadth-first search over every world a setting can lead to: small worlds enumerated fully. */
import {
  check,
  checkState,
  firstWorld,
  InvariantBroken,
  moves,
  type Setting,
  type World,
} from './protocol-world.ts';

export interface Exploration {
  readonly worlds: number;
  /** How many worlds have a state of this kind. */
  readonly kinds: Readonly<Record<string, number>>;
}

/**
 * Visits all worlds of a setting and checks the invariants in each.
 * Throws {@link InvariantBroken} with the shortest way there, or when there are more than `worldsMax` worlds.
 */
export function explore(setting: Setting, worldsMax: number, visit?: (world: World) => void): Exploration {
  const seen = new Seen();
  const first = firstWorld(setting);
  const kinds: Record<string, number> = {};
  let frontier: readonly Visited[] = [{ world: first, way: { move: 'start', from: undefined } }];
  seen.add(first);
  while (frontier.length > 0) {
    const next: Visited[] = [];
    for (const from of frontier) {
      const { kind } = from.world.state;
      kinds[kind] = (kinds[kind] ?? 0) + 1;
      telling(from.way, () => visit?.(from.world));
      for (const move of telling(from.way, () => moves(setting, from.world))) {
        const way: Way = { move: move.name, from: from.way };
        const world = telling(way, () => move.next());
        if (!seen.add(world)) continue;
        telling(way, () => {
          check(setting, world);
          if (seen.isNewState) checkState(setting, world.state);
        });
        next.push({ world, way });
      }
    }
    if (seen.count > worldsMax) throw new InvariantBroken(`more than ${worldsMax} worlds`);
    frontier = next;
  }
  return { worlds: seen.count, kinds };
}

/** How a world came about. */
interface Way {
  readonly move: string;
  readonly from: Way | undefined;
}

interface Visited {
  readonly world: World;
  readonly way: Way;
}

/** Adds to whatever is thrown how the world came about. */
function telling<T>(way: Way, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const moves: string[] = [];
    for (let at: Way | undefined = way; at !== undefined; at = at.from) moves.unshift(at.move);
    const what = error instanceof Error ? error.message : String(error);
    throw new InvariantBroken(`${what}\n${moves.join('\n')}`, { cause: error });
  }
}

/** Worlds share most of their parts, so the parts are numbered and a world is the numbers of its parts. */
class Seen {
  readonly #parts = new Map<string, number>();
  readonly #worlds = new Set<string>();

  /** The world added last has a state that no world had before. */
  isNewState = false;

  get count(): number {
    return this.#worlds.size;
  }

  add({ state, saved, ...rest }: World): boolean {
    const states = this.#parts.size;
    const now = this.#number(state);
    this.isNewState = this.#parts.size > states;
    const key = `${now} ${this.#number(saved)} ${this.#number(rest)}`;
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
