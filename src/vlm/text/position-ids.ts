// M-RoPE positions (spec 6.1): where each token stands on the axes time, height and width.
// In: how many tokens, and where pictures lie among them. Out: three positions per token. It knows no pixels and no ids.

/** The tokens of one picture inside a sequence. One pair of video frames counts as a picture. */
export interface ImageSpan {
  /** Index of its first token. */
  readonly start: number;
  /** Height in tokens: patches, after merging. */
  readonly rows: number;
  /** Width in tokens: patches, after merging. */
  readonly columns: number;
}

/** Where a sequence goes on from. */
export interface PositionStart {
  /** Position of the first token: `nextPosition` of what came before. */
  readonly nextPosition: number;
  /** Tokens that came before. */
  readonly length: number;
}

export interface MropePositions {
  /** (3, length), row by row: time, height, width. */
  readonly positions: Int32Array;
  /** Position of the token that comes next, on all three axes. */
  readonly nextPosition: number;
  /** `nextPosition` minus the tokens so far, those that came before included; never above 0. */
  readonly delta: number;
}

const BEGINNING: PositionStart = { nextPosition: 0, length: 0 };

/**
 * Positions of a sequence of text and pictures.
 *
 * A text token takes one position on all axes. A picture lies at one time, spreads over rows and columns from there, and
 * ends where its longer side ends.
 * @param spans In order of appearance.
 * @throws RangeError if spans overlap, are empty or leave the sequence.
 */
export function mropePositions(
  length: number,
  spans: readonly ImageSpan[] = [],
  from: PositionStart = BEGINNING,
): MropePositions {
  const positions = new Int32Array(3 * length); // (3, length)
  let cursor = from.nextPosition;
  let token = 0;

  const writeText = (end: number): void => {
    for (; token < end; token++, cursor++) write(cursor, cursor, cursor);
  };
  const write = (time: number, height: number, width: number): void => {
    positions[token] = time;
    positions[length + token] = height;
    positions[2 * length + token] = width;
  };

  for (const { start, rows, columns } of spans) {
    if (start < token || start + rows * columns > length || rows < 1 || columns < 1) {
      throw new RangeError(
        `Expected pictures in order inside ${length} tokens, got ${rows}x${columns} at ${start}.`,
      );
    }
    writeText(start);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, token++) {
        write(cursor, cursor + row, cursor + column);
      }
    }
    cursor += Math.max(rows, columns);
  }
  writeText(length);

  return { positions, nextPosition: cursor, delta: cursor - (from.length + length) };
}
