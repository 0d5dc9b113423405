// Everything the vision graph wants besides pixels: where each patch sits, as table rows, weights and angles.
// In: the patch grid of one picture. Out: the auxiliary inputs. It knows nothing of pixels or sessions.

import { mergeBlockOrder } from "./merge-block-order.ts";
import { type VisionRotaryConfig, visionCosSin } from "./rotary.ts";

/** What the auxiliary inputs depend on; `Qwen3VlConfig["vision"]` has it. */
export interface VisionInputConfig extends VisionRotaryConfig {
  /** Side of the square table of learned positions. */
  readonly positionGridSize: number;
}

/** The auxiliary inputs of the vision graph for one picture of N patches, in merge-block order. */
export interface VisionInputs {
  readonly patches: number;
  /** (4, N) rows of the position table: the corners (y0,x0) (y0,x1) (y1,x0) (y1,x1). */
  readonly positionIndices: BigInt64Array;
  /** (4, N) bilinear weights of these corners. */
  readonly positionWeights: Float32Array;
  /** (1, N, headSize / 2) */
  readonly rotaryCos: Float32Array;
  /** (1, N, headSize / 2) */
  readonly rotarySin: Float32Array;
}

/** Computes the auxiliary inputs of the vision graph for a picture of `gridHeight` x `gridWidth` patches. */
export function visionInputs(
  gridHeight: number,
  gridWidth: number,
  config: VisionInputConfig,
): VisionInputs {
  const { rows, columns } = mergeBlockOrder(gridHeight, gridWidth, config.mergeSize);
  const patches = rows.length;
  const table = config.positionGridSize;
  const vertical = cornerCoordinates(gridHeight, table);
  const horizontal = cornerCoordinates(gridWidth, table);
  // Low and high halves of 64 bits, the low one first as everywhere that ONNX Runtime runs: 50 000 BigInts would hold up
  // the event loop.
  const indices = new Int32Array(2 * 4 * patches); // (4, N, 2)
  const weights = new Float32Array(4 * patches); // (4, N)
  for (let patch = 0; patch < patches; patch++) {
    const y = vertical[rows[patch]!]!;
    const x = horizontal[columns[patch]!]!;
    for (let corner = 0; corner < 4; corner++) {
      const at = corner * patches + patch;
      const row = corner < 2 ? y.low : y.high;
      const column = corner % 2 === 0 ? x.low : x.high;
      indices[2 * at] = row * table + column;
      weights[at] =
        (corner < 2 ? y.lowWeight : y.highWeight) * (corner % 2 === 0 ? x.lowWeight : x.highWeight);
    }
  }
  const { cos, sin } = visionCosSin(gridHeight, gridWidth, config);
  return {
    patches,
    positionIndices: new BigInt64Array(indices.buffer),
    positionWeights: weights,
    rotaryCos: cos,
    rotarySin: sin,
  };
}

/** The two table rows around one grid line, and how much of each. */
interface Corner {
  readonly low: number;
  readonly high: number;
  readonly lowWeight: number;
  readonly highWeight: number;
}

/** Stretches `size` grid lines over the table so that first meets first and last meets last, in fp32. */
function cornerCoordinates(size: number, table: number): Corner[] {
  return Array.from({ length: size }, (_, line) => {
    const at = Math.fround((line * (table - 1)) / Math.max(size - 1, 1));
    const low = Math.min(Math.floor(at), table - 1);
    const highWeight = Math.fround(at - low);
    return {
      low,
      high: Math.min(low + 1, table - 1),
      lowWeight: Math.fround(1 - highWeight),
      highWeight,
    };
  });
}
