// Bell-shaped random numbers from a seed, the same on every machine.

/** Standard normal values. */
export function gaussians(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  const uniform = () => {
    // xorshift32: short, and good enough that neighbours are independent
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
