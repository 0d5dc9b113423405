// Did somebody mean another name? In: what was written and the names there are. Out: the closest one, if one is close.

/** More slips than one for every three letters, and it is another word. */
const LETTERS_PER_SLIP = 3;

/** The name that is nearest to what was written; `undefined` if none is near. */
export function closeName(written: string, names: readonly string[]): string | undefined {
  const lower = written.toLowerCase();
  const ranked = names
    .map((name) => ({ name, slips: slips(lower, name.toLowerCase()) }))
    .toSorted((a, b) => a.slips - b.slips);
  const [best] = ranked;
  if (best === undefined) return undefined;
  const allowed = Math.max(1, Math.floor(best.name.length / LETTERS_PER_SLIP));
  return best.slips <= allowed ? best.name : undefined;
}

/** Letters to add, drop, change or swap with their neighbour (optimal string alignment). */
function slips(a: string, b: string): number {
  // Whatever differs this much in length is no slip of the pen.
  if (Math.abs(a.length - b.length) > b.length) return Infinity;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      const swapped =
        row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current[column] = Math.min(
        (last[column] ?? Infinity) + 1,
        (current[column - 1] ?? Infinity) + 1,
        (last[column - 1] ?? Infinity) + (same ? 0 : 1),
        swapped ? (beforeLast[column - 2] ?? Infinity) + 1 : Infinity,
      );
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? Infinity;
}
