// Matrix products of a graph in one of several precisions. In: an activation and where its weight comes from.
// Out: nodes, and for each weight a line in the plan that the weight writer follows. Reads no weights itself.
//
// fp32   MatMul                                           weight (K, N) f32
// w8a8   row scale -> QuantizeLinear -> MatMulIntegerToFloat -> row scale back
//                                                         weight (K, N) int8, one scale per column; as u8 with
//                                                         zero point 128 for CPUs whose u8 x s8 product saturates
// q4     MatMulNBits, block 128, accuracy level 4         weight (N, blocks, 64) u8, one scale per block
//        levels that a checkpoint stores, in its blocks    zero points too, where it has them
//
// For graphics cards, activations of the same type as the scales:
//
// fp16, bf16   MatMul                                     weight (K, N)
// q4f16, q4f32 MatMulNBits, block 32                      weight (N, blocks, 16) u8, f16 or f32 scales
// w8a16, q8f16, q8
//              MatMulNBits with 8 bits, block 32          weight (N, blocks, 32) u8, f16 or f32 scales
//
// The row scale is put back at once, or carried along to where it costs nothing. Each activation row is scaled to its own largest magnitude before it becomes u8 (zero point 128), so a row with
// outliers does not take the resolution of the others. An all-zero row keeps a tiny positive scale.

import type { GraphNode, OnnxModel } from "./onnx-model.ts";
import { DEVICE_BLOCK, INT4_BLOCK, int4Blocks } from "./quantize.ts";
import type { StoredBlocks, StoredInt4 } from "./stored-int4.ts";
import type { WeightPlan } from "./weight-plan.ts";

/** How the weights of a graph are stored and multiplied. */
export const PRECISIONS = ["fp32", "w8a8", "q4", "fp16", "q4f16", "w8a16"] as const;
export type Precision = (typeof PRECISIONS)[number];
/** Those that a CPU computes in; the others are for graphics cards. */
export const CPU_PRECISIONS = ["fp32", "w8a8", "q4"] as const;
export type CpuPrecision = (typeof CPU_PRECISIONS)[number];

/** Those of the form in device-decoder-graph.ts. */
export type DevicePrecision = "fp16" | "q4f16" | "w8a16";

/** Every way in which a single product can be written. */
export type ProductPrecision = Precision | "bf16" | "q4f32" | "q8" | "q8f16";

export const INT8_WEIGHTS = ["s8", "u8", "s8-paired"] as const;
/**
 * How int8 weights are stored. `s8` is what the VNNI and AMX kernels take. An x64 CPU without them adds the products of
 * two neighbours in 16 bits, which overflow: there `u8` is exact and needs no telling (`s8` would be rewritten at every
 * load, 22 s and 1.1 GB for a 2B), and `s8-paired`, in which no two neighbours together are beyond 128, is exact too and
 * a third faster. All are exact on every other CPU.
 */
export type Int8Weights = (typeof INT8_WEIGHTS)[number];

/** Added to a weight's level to store it. */
export const WEIGHT_ZERO_POINT: Readonly<Record<Int8Weights, number>> = {
  s8: 0,
  u8: 128,
  "s8-paired": 0,
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
export type WiderFormats = ReadonlyMap<string, CpuPrecision>;

/** Types of activations. */
export type FloatType = "f32" | "f16" | "bf16";

/** What a product takes and gives. */
export function activationType(precision: ProductPrecision): FloatType {
  switch (precision) {
    case "fp16":
    case "q4f16":
    case "w8a16":
    case "q8f16":
      return "f16";
    case "bf16":
      return "bf16";
    default:
      return "f32";
  }
}

interface BlockFormat {
  readonly bits: 4 | 8;
  readonly block: number;
  /** Of the scales, and of the activations. @default "f32" */
  readonly type?: "f32" | "f16";
  readonly attributes?: GraphNode["attributes"];
}

/** Of the precisions that have blocks. */
const BLOCK_FORMATS: Readonly<Partial<Record<ProductPrecision, BlockFormat>>> = {
  q4: { bits: 4, block: INT4_BLOCK, attributes: { accuracy_level: { int: 4 } } },
  q4f16: { bits: 4, block: DEVICE_BLOCK, type: "f16" },
  q4f32: { bits: 4, block: DEVICE_BLOCK },
  q8: { bits: 8, block: DEVICE_BLOCK },
  q8f16: { bits: 8, block: DEVICE_BLOCK, type: "f16" },
  w8a16: { bits: 8, block: DEVICE_BLOCK, type: "f16" },
};

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
  readonly #ordered = new Map<string, string>();

  readonly #wider: WiderFormats;
  readonly #stored: StoredInt4;
  /** The factor of each row that a tensor lacks, (..., 1), by the tensor's name. */
  readonly #rowScales = new Map<string, string>();

  /**
   * @param wider formats of single weights that are not those of the rest
   * @param stored weights whose 4-bit levels are kept, whatever the precision of their product
   */
  constructor(
    model: OnnxModel,
    int8Weights: Int8Weights,
    wider: WiderFormats = new Map(),
    stored: StoredInt4 = new Map(),
  ) {
    this.#model = model;
    this.#int8Weights = int8Weights;
    this.#wider = wider;
    this.#stored = stored;
  }

  /** A stored tensor in its own layout; returns its name in the graph. */
  values(source: string, shape: readonly number[], type: FloatType = "f32"): string {
    const target = this.#model.external(source, type, shape);
    this.plan.push({ kind: "values", source, target });
    return target.name;
  }

  /** activation (..., K) x weight -> (..., N), plus bias. */
  product(
    name: string,
    activation: string,
    weight: LinearWeight,
    precision: ProductPrecision,
  ): string {
    const output = weight.bias === undefined ? name : `${name}.product`;
    const raw = this.#multiply(output, activation, weight, precision);
    this.applyRowScale(raw, output);
    if (weight.bias === undefined) return output;
    const bias = this.values(weight.bias, [weight.rows], activationType(precision));
    return this.#model.node("Add", name, [output, bias]);
  }

  /**
   * The product without the factor of each row that an int8 product ends with: for whoever normalises rows anyway, or
   * can take it along to where it costs less. No bias.
   */
  unscaledProduct(
    name: string,
    activation: string,
    weight: LinearWeight,
    precision: ProductPrecision,
  ): string {
    if (weight.bias !== undefined) throw new TypeError(`The product ${name} has a bias.`);
    return this.#multiply(name, activation, weight, precision);
  }

  /** Says that `to`, made of `from` by something linear in its rows, lacks the same factor. */
  carryRowScale(from: string, to: string): void {
    const scale = this.#rowScales.get(from);
    if (scale !== undefined) this.#rowScales.set(to, scale);
  }

  /** Multiplies rows by the factor they lack; nothing to do for those that lack none. */
  applyRowScale(x: string, name: string): string {
    const scale = this.#rowScales.get(x);
    return scale === undefined ? x : this.#model.node("Mul", name, [x, scale]);
  }

  /** Returns the product, which may lack a factor of each row. */
  #multiply(
    name: string,
    activation: string,
    weight: LinearWeight,
    precision: ProductPrecision,
  ): string {
    const stored = this.#stored.get(weight.sources[0] ?? "");
    if (stored !== undefined) return this.#storedInt4(name, activation, weight, precision, stored);
    const chosen = this.#wider.get(weight.sources[0] ?? "") ?? precision;
    if (chosen === "w8a8") return this.#int8(name, activation, weight);
    const whole = this.applyRowScale(activation, `${name}.input`);
    const format = BLOCK_FORMATS[chosen];
    return format === undefined
      ? this.#float(name, whole, weight, activationType(chosen))
      : this.#blocks(name, whole, weight, format);
  }

  #float(output: string, activation: string, weight: LinearWeight, type: FloatType): string {
    const target = this.#model.external(`${output}.weight`, type, [weight.columns, weight.rows]);
    this.plan.push({ kind: "transposed", sources: weight.sources, target });
    return this.#model.node("MatMul", output, [activation, target.name]);
  }

  #int8(output: string, activation: string, weight: LinearWeight): string {
    const model = this.#model;
    const form = this.#int8Weights;
    const type = form === "u8" ? "u8" : "i8";
    const target = model.external(`${output}.weight`, type, [weight.columns, weight.rows]);
    const scales = model.external(`${output}.scales`, "f32", [weight.rows]);
    this.plan.push({ kind: "int8", form, sources: weight.sources, target, scales });
    const { values, scale } = this.#quantize(activation);
    const zeroPoint = this.#zeroPoint();
    const inputs = [values, target.name, this.#one(), scales.name, zeroPoint];
    // Zero points of activation and weight are the same 128; signed weights have none.
    if (form === "u8") inputs.push(zeroPoint);
    const product = `${output}.scaled`;
    model.node("MatMulIntegerToFloat", product, inputs, {}, MICROSOFT);
    this.#rowScales.set(product, scale);
    return product;
  }

  #blocks(
    output: string,
    activation: string,
    { sources, rows, columns }: LinearWeight,
    { bits, block, type = "f32", attributes = {} }: BlockFormat,
  ): string {
    const blocks = int4Blocks(columns, block);
    const shape = [rows, blocks, (block * bits) / 8];
    const target = this.#model.external(`${output}.weight`, "u8", shape);
    const scales = this.#model.external(`${output}.scales`, type, [rows, blocks]);
    this.plan.push({ kind: "blocks", bits, block, sources, target, scales });
    const sizes = {
      K: { int: columns },
      N: { int: rows },
      bits: { int: bits },
      block_size: { int: block },
      ...attributes,
    };
    const inputs = [activation, target.name, scales.name];
    return this.#model.node("MatMulNBits", output, inputs, sizes, MICROSOFT);
  }

  #storedInt4(
    output: string,
    activation: string,
    { sources, rows, columns }: LinearWeight,
    precision: ProductPrecision,
    { block, zeroPoints, order }: StoredBlocks,
  ): string {
    const model = this.#model;
    const type = activationType(precision) === "f16" ? "f16" : "f32";
    const blocks = int4Blocks(columns, block);
    const target = model.external(`${output}.weight`, "u8", [rows, blocks, block / 2]);
    const scales = model.external(`${output}.scales`, type, [rows, blocks]);
    const zeros = zeroPoints
      ? model.external(`${output}.zero_points`, "u8", [rows, Math.ceil(blocks / 2)])
      : undefined;
    this.plan.push({ kind: "stored-int4", block, sources, target, scales, zeroPoints: zeros });
    const isForCpu = precision === "q4" || precision === "w8a8";
    const whole = this.applyRowScale(activation, `${output}.input`);
    const inputs = [
      order === undefined ? whole : this.#inOrder(whole, order),
      target.name,
      scales.name,
      ...(zeros === undefined ? [] : [zeros.name]),
    ];
    const sizes = {
      K: { int: columns },
      N: { int: rows },
      bits: { int: 4 },
      block_size: { int: block },
      ...(isForCpu ? { accuracy_level: { int: 4 } } : {}),
    };
    return model.node("MatMulNBits", output, inputs, sizes, MICROSOFT);
  }

  /** The columns of an activation as a weight has them; products of the same activation share it. */
  #inOrder(activation: string, order: Int32Array): string {
    const known = this.#ordered.get(activation);
    if (known !== undefined) return known;
    const name = `${activation}.in_order`;
    const columns = this.#model.constant(`${name}.columns`, "i64", [order.length], [...order]);
    this.#ordered.set(activation, name);
    return this.#model.node("Gather", name, [activation, columns], { axis: { int: -1 } });
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
    const quantized = { values, scale: this.#withInherited(activation, scale) };
    this.#quantized.set(activation, quantized);
    return quantized;
  }

  /** The factor that the values of an activation lack, times the one that it lacked itself. */
  #withInherited(activation: string, scale: string): string {
    const inherited = this.#rowScales.get(activation);
    if (inherited === undefined) return scale;
    return this.#model.node("Mul", `${activation}.row.inherited`, [scale, inherited]);
  }

  #one(): string {
    return this.#model.constant("one", "f32", [], [1]);
  }

  #zeroPoint(): string {
    return this.#model.constant("zero_point", "u8", [], [128]);
  }
}
