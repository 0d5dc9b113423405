// How much of this machine's free memory contexts and caches may have. Out: counts and bytes.

import { freeMemory } from "../runtime/free-memory.ts";

const MIB = 2 ** 20;
const FEWEST_CONTEXTS = 4;
const MOST_CONTEXTS = 8;

/**
 * Contexts that a quarter of the free memory holds, from 4 to 8; fewer than 4 only when all of it does not hold 4.
 *
 * @param contextBytes of one full context: memory that no token has reached costs nothing on a CPU
 */
export function contextsThatFit(contextBytes: number, free = freeMemory()): number {
  const fewest = Math.min(FEWEST_CONTEXTS, Math.max(1, Math.floor(free / contextBytes)));
  const fitting = Math.floor(free / 4 / contextBytes);
  return Math.max(fewest, Math.min(MOST_CONTEXTS, fitting));
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

/** Contexts on a graphics card: half of what is left of its memory, and more than 32 are of no use to one bot. */
export function deviceContexts(contextBytes: number, remaining: number): number {
  return Math.max(1, Math.min(32, Math.floor(remaining / 2 / contextBytes)));
}

/** What the caches may hold of what is then left of its memory; runs need room as well. */
export function deviceShares(remaining: number): {
  readonly features: number;
  readonly prefixes: number;
} {
  return {
    features: Math.max(0, Math.floor(Math.min(remaining / 16, 512 * MIB))),
    prefixes: Math.max(0, Math.floor(Math.min(remaining / 4, 4096 * MIB))),
  };
}
