// The order in which the vision encoder sees the patches of a picture: merge block by merge block, so that the
// mergeSize² patches that become one token are neighbours. In: a grid. Out: row and column of each patch.

/** Row and column of every patch, in the encoder's order. */
export interface PatchOrder {
  /** (N) */
  readonly rows: Int32Array;
  /** (N) */
  readonly columns: Int32Array;
}

/**
 * Lists the patches of a grid in merge-block order: blocks in raster order, patches of a block in raster order.
 *
 * @throws RangeError when a side is not a positive multiple of `mergeSize`.
 */
export function mergeBlockOrder(
  gridHeight: number,
  gridWidth: number,
  mergeSize: number,
): PatchOrder {
  for (const [name, side] of [
    ["gridHeight", gridHeight],
    ["gridWidth", gridWidth],
  ] as const) {
    if (!Number.isSafeInteger(side) || side < mergeSize || side % mergeSize !== 0) {
      throw new RangeError(
        `Expected \`${name}\` to be a positive multiple of ${mergeSize}, got \`${side}\``,
      );
    }
  }
  const rows = new Int32Array(gridHeight * gridWidth); // (N)
  const columns = new Int32Array(gridHeight * gridWidth); // (N)
  let patch = 0;
  for (let blockRow = 0; blockRow < gridHeight; blockRow += mergeSize) {
    for (let blockColumn = 0; blockColumn < gridWidth; blockColumn += mergeSize) {
      for (let row = blockRow; row < blockRow + mergeSize; row++) {
        for (let column = blockColumn; column < blockColumn + mergeSize; column++) {
          rows[patch] = row;
          columns[patch++] = column;
        }
      }
    }
  }
  return { rows, columns };
}
