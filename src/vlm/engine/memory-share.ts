// How much of this machine's free memory contexts and caches may have. Out: counts and bytes.

const MIB = 2 ** 20;
const FEWEST_CONTEXTS = 4;
const MOST_CONTEXTS = 8;

/** Bytes that this process may still take; what a container allows counts. */
export function freeMemory(): number {
  return process.availableMemory();
}

/**
 * Contexts that a quarter of the free memory holds, from 4 to 8.
 *
 * @param contextBytes of one full context: memory that no token has reached costs nothing on a CPU
 */
export function contextsThatFit(contextBytes: number, free = freeMemory()): number {
  const fitting = Math.floor(free / 4 / contextBytes);
  return Math.max(FEWEST_CONTEXTS, Math.min(MOST_CONTEXTS, fitting));
}

/** What the caches may hold when nobody says so. */
export function defaultCacheBytes(free = freeMemory()): {
  readonly features: number;
  readonly prefixes: number;
} {
  return {
    features: Math.floor(Math.min(free / 32, 256 * MIB)),
    prefixes: Math.floor(Math.min(free / 8, 2048 * MIB)),
  };
}
