// A one-node model that tells whether this CPU's u8 x s8 matrix product saturates: x64 without VNNI adds two
// products in 16 bits (vpmaddubsw), and full-range int8 weights overflow there without a word.
// Out: the model and what a sound CPU answers. Knows no session; the runtime runs it.

import { OnnxModel } from "./onnx-model.ts";

const DEPTH = 64;
const COLUMNS = 16;

export interface SaturationProbe {
  readonly model: Uint8Array;
  readonly input: { readonly name: string; readonly shape: readonly [number, number] };
  /** Every byte of the u8 input. */
  readonly inputByte: number;
  readonly output: { readonly name: string; readonly shape: readonly [number, number] };
  /** Every f32 of the output where nothing saturates; a saturating CPU gives about half. */
  readonly exact: number;
}

/**
 * The largest products there are, summed over 64 terms. When the answer is not `exact`, sessions with W8A8
 * weights need `session.x64quantprecision` = "1", which turns int8 weights into exact u8 ones at load.
 * (Where it is exact that key would only cost: ONNX Runtime then leaves its VNNI and AMX kernels.)
 *
 * @param kind `paired` asks the same of weights of which no two neighbours exceed 128 together: does the CPU's kernel
 *   add those neighbours, and no others?
 */
export function saturationProbe(kind: "full-range" | "paired" = "full-range"): SaturationProbe {
  const model = new OnnxModel("saturation_probe");
  // (depth, columns); neighbours along the depth are the pairs.
  const weights = Array.from({ length: DEPTH * COLUMNS }, (_, index) =>
    kind === "paired" && Math.floor(index / COLUMNS) % 2 === 1 ? 1 : 127,
  );
  model.node(
    "MatMulIntegerToFloat",
    "products",
    [
      model.input("activations", "u8", [1, DEPTH]), // (1, depth)
      model.constant("weights", "i8", [DEPTH, COLUMNS], weights), // (depth, columns)
      model.constant("one", "f32", [], [1]),
      model.constant("scales", "f32", [COLUMNS], new Array<number>(COLUMNS).fill(1)),
      model.constant("zero_point", "u8", [], [128]),
    ],
    {},
    "com.microsoft",
  );
  model.output("products", "f32", [1, COLUMNS]);
  return {
    model: model.serialize("", "1"),
    input: { name: "activations", shape: [1, DEPTH] },
    inputByte: 255,
    output: { name: "products", shape: [1, COLUMNS] },
    exact: ((255 - 128) * weights.reduce((sum, weight) => sum + weight, 0)) / COLUMNS,
  };
}
