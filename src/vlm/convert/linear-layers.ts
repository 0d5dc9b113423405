// Matrix products of a graph in one of three precisions. In: an activation and where its weight comes from.
// Out: nodes, and for each weight a line in the plan that the weight writer follows. Reads no weights itself.
//
// fp32   MatMul                                           weight (K, N) f32
// w8a8   row scale -> QuantizeLinear -> MatMulIntegerToFloat -> row scale back
//                                                         weight (K, N) int8, one scale per column; as u8 with
//                                                         zero point 128 for CPUs whose u8 x s8 product saturates
// q4     MatMulNBits, block 128, accuracy level 4         weight (N, blocks, 64) u8, one scale per block
//
// Each activation row is scaled to its own largest magnitude before it becomes u8 (zero point 128), so a row with
// outliers does not take the resolution of the others. An all-zero row keeps a tiny positive scale.

import type { ExternalTensor, OnnxModel } from "./onnx-model.ts";
import { INT4_BLOCK, int4Blocks } from "./quantize.ts";

/** How the weights of a graph are stored and multiplied. */
export const PRECISIONS = ["fp32", "w8a8", "q4"] as const;
export type Precision = (typeof PRECISIONS)[number];

/**
 * How int8 weights are stored. `s8` is what the VNNI and AMX kernels take. An x64 CPU without them saturates on it:
 * there ONNX Runtime can rewrite the weights at load (22 s and 1.1 GB for a 2B), or find them as `u8` from the
 * start. Both give the same exact products on every CPU that has been told; `u8` needs no telling.
 */
export const INT8_WEIGHTS = ["s8", "u8"] as const;
export type Int8Weights = (typeof INT8_WEIGHTS)[number];

/** Added to a weight's level to store it. */
export const WEIGHT_ZERO_POINT: Readonly<Record<Int8Weights, number>> = { s8: 0, u8: 128 };

/** What goes into the external data file, in file order. `sources` are stacked along their rows. */
export type WeightPlan =
  | { readonly kind: "values"; readonly source: string; readonly target: ExternalTensor }
  | {
      readonly kind: "transposed";
      readonly sources: readonly string[];
      readonly target: ExternalTensor;
    }
  | {
      readonly kind: "int8" | "int4";
      readonly sources: readonly string[];
      readonly target: ExternalTensor;
      readonly scales: ExternalTensor;
    };

export interface LinearWeight {
  /** Canonical tensor names, (N_i, K) each; stacked they are (N, K). */
  readonly sources: readonly string[];
  /** N */
  readonly rows: number;
  /** K */
  readonly columns: number;
  readonly bias?: string;
}

/** Formats by canonical tensor name, for weights that lose too much in the format of the others. */
export type WiderFormats = ReadonlyMap<string, Precision>;

/** Smallest row maximum: keeps a row of zeros from being divided by zero. */
const SMALLEST_ROW_MAXIMUM = 1e-30;
const MICROSOFT = "com.microsoft";

/** Adds weights and products to one model and collects the plan of its data file. */
export class LinearLayers {
  readonly plan: WeightPlan[] = [];
  readonly #model: OnnxModel;
  readonly #int8Weights: Int8Weights;
  /** Quantised forms of activations, so that products of the same activation share them. */
  readonly #quantized = new Map<string, { values: string; scale: string }>();

  readonly #wider: WiderFormats;

  /** @param wider formats of single weights that are not those of the rest */
  constructor(model: OnnxModel, int8Weights: Int8Weights, wider: WiderFormats = new Map()) {
    this.#model = model;
    this.#int8Weights = int8Weights;
    this.#wider = wider;
  }

  /** A stored tensor in f32, in its own layout; returns its name in the graph. */
  values(source: string, shape: readonly number[]): string {
    const target = this.#model.external(source, "f32", shape);
    this.plan.push({ kind: "values", source, target });
    return target.name;
  }

  /** activation (..., K) x weight -> (..., N), plus bias. */
  product(name: string, activation: string, weight: LinearWeight, precision: Precision): string {
    const output = weight.bias === undefined ? name : `${name}.product`;
    switch (this.#wider.get(weight.sources[0] ?? "") ?? precision) {
      case "fp32":
        this.#fp32(output, activation, weight);
        break;
      case "w8a8":
        this.#int8(output, activation, weight);
        break;
      case "q4":
        this.#int4(output, activation, weight);
        break;
      default:
        throw new TypeError(`Unknown precision ${precision}.`);
    }
    if (weight.bias === undefined) return output;
    return this.#model.node("Add", name, [output, this.values(weight.bias, [weight.rows])]);
  }

  #fp32(output: string, activation: string, weight: LinearWeight): void {
    const target = this.#model.external(`${output}.weight`, "f32", [weight.columns, weight.rows]);
    this.plan.push({ kind: "transposed", sources: weight.sources, target });
    this.#model.node("MatMul", output, [activation, target.name]);
  }

  #int8(output: string, activation: string, weight: LinearWeight): void {
    const model = this.#model;
    const type = this.#int8Weights === "u8" ? "u8" : "i8";
    const target = model.external(`${output}.weight`, type, [weight.columns, weight.rows]);
    const scales = model.external(`${output}.scales`, "f32", [weight.rows]);
    this.plan.push({ kind: "int8", sources: weight.sources, target, scales });
    const { values, scale } = this.#quantize(activation);
    const zeroPoint = this.#zeroPoint();
    const inputs = [values, target.name, this.#one(), scales.name, zeroPoint];
    // Zero points of activation and weight are the same 128; signed weights have none.
    if (this.#int8Weights === "u8") inputs.push(zeroPoint);
    model.node("MatMulIntegerToFloat", `${output}.scaled`, inputs, {}, MICROSOFT);
    model.node("Mul", output, [`${output}.scaled`, scale]);
  }

  #int4(output: string, activation: string, { sources, rows, columns }: LinearWeight): void {
    const blocks = int4Blocks(columns);
    const shape = [rows, blocks, INT4_BLOCK / 2];
    const target = this.#model.external(`${output}.weight`, "u8", shape);
    const scales = this.#model.external(`${output}.scales`, "f32", [rows, blocks]);
    this.plan.push({ kind: "int4", sources, target, scales });
    const attributes = {
      K: { int: columns },
      N: { int: rows },
      bits: { int: 4 },
      block_size: { int: INT4_BLOCK },
      accuracy_level: { int: 4 },
    };
    const inputs = [activation, target.name, scales.name];
    this.#model.node("MatMulNBits", output, inputs, attributes, MICROSOFT);
  }

  /** activation (..., K) -> u8 values (..., K) and the row scale (..., 1). */
  #quantize(activation: string): { values: string; scale: string } {
    const known = this.#quantized.get(activation);
    if (known !== undefined) return known;
    const model = this.#model;
    const name = (step: string) => `${activation}.row.${step}`;
    const magnitude = model.node("Abs", name("magnitude"), [activation]);
    const axes = model.constant("last_axis", "i64", [1], [-1]);
    const largest = model.node("ReduceMax", name("largest"), [magnitude, axes], {
      keepdims: { int: 1 },
    });
    const smallest = model.constant("smallest_row_maximum", "f32", [], [SMALLEST_ROW_MAXIMUM]);
    const guarded = model.node("Max", name("guarded"), [largest, smallest]);
    const inverse = model.constant("inverse_127", "f32", [], [1 / 127]);
    const scale = model.node("Mul", name("scale"), [guarded, inverse]);
    const unit = model.node("Div", name("unit"), [activation, scale]);
    const inputs = [unit, this.#one(), this.#zeroPoint()];
    const values = model.node("QuantizeLinear", name("values"), inputs);
    const quantized = { values, scale };
    this.#quantized.set(activation, quantized);
    return quantized;
  }

  #one(): string {
    return this.#model.constant("one", "f32", [], [1]);
  }

  #zeroPoint(): string {
    return this.#model.constant("zero_point", "u8", [], [128]);
  }
}
