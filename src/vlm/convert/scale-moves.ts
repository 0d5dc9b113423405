// Scales moved from where a channel is made to where it is read: rows of one tensor are divided, columns of the next
// multiplied. All factors are powers of two, so the function of the model stays the same to the last bit.
// Knows no model and reads nothing.

/** What is done to the rows and columns of tensors while they are read; see `InputBalance`. */
export class ScaleMoves {
  readonly #rows = new Map<string, Float32Array>();
  readonly #columns = new Map<string, Float32Array>();

  /** Divides rows `firstRow`, `firstRow` + 1, ... of a tensor by the factors. */
  divideRows(tensor: string, allRows: number, firstRow: number, factors: Float32Array): void {
    const rows = this.#rows.get(tensor) ?? new Float32Array(allRows).fill(1);
    factors.forEach((factor, i) => {
      rows[firstRow + i] = (rows[firstRow + i] ?? 1) / factor;
    });
    this.#rows.set(tensor, rows);
  }

  /** Multiplies the columns of a tensor by the factors. */
  multiplyColumns(tensor: string, factors: Float32Array): void {
    if (this.#columns.has(tensor)) throw new Error(`The columns of ${tensor} were moved twice.`);
    this.#columns.set(tensor, factors);
  }

  /** @param weights rows `firstRow` and following of a tensor, (rows, columns); changed in place */
  apply(
    tensor: string,
    weights: Float32Array,
    firstRow: number,
    rows: number,
    columns: number,
  ): void {
    const byColumn = this.#columns.get(tensor);
    const byRow = this.#rows.get(tensor);
    if (byColumn === undefined && byRow === undefined) return;
    for (let row = 0; row < rows; row++) {
      const factor = byRow?.[firstRow + row] ?? 1;
      const start = row * columns;
      for (let column = 0; column < columns; column++) {
        const both = factor * (byColumn?.[column] ?? 1);
        weights[start + column] = (weights[start + column] as number) * both;
      }
    }
  }
}
