// How far computed numbers are from those that were expected. In: two rows. Out: one number. It judges nothing.

/** Root mean square of the differences over that of what was expected; infinite where something is no number. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  let [errors, squares] = [0, 0];
  for (const [index, value] of expected.entries()) {
    errors += (actual[index]! - value) ** 2;
    squares += value ** 2;
  }
  const relative = Math.sqrt(errors / squares);
  return Number.isNaN(relative) ? Number.POSITIVE_INFINITY : relative;
}
