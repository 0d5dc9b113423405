// From stored tensors to weights: a plain tensor is one, a quantised one is put together from its parts. In: headers
// and how the checkpoint was quantised. Out: weights, each under `….weight`; what belongs to no known family stays as
// it is, for others to name. Reads no levels, only which column belongs to which group.

import { ModelLoadError } from "../errors.ts";
import { Int4Weight, type Unpacked } from "./int4-weight.ts";
import type { QuantizationConfig } from "./quantization-config.ts";
import type { Safetensors, StoredTensor } from "./safetensors.ts";
import { BYTE_DTYPES, type ScaleBlock, ScaledWeight } from "./scaled-weight.ts";
import { PlainWeight, type Weight } from "./weight.ts";

/** Scales of activations, which stay as they are. */
const ACTIVATION_SCALES = ["input_scale", "activation_scale", "input_scale_ub", "input_zero_point"];
const LEVELS_PER_WORD = 8;

/** @throws ModelLoadError `model-corrupt` for parts that do not go together, `model-unsupported` for other forms */
export async function assembleWeights(
  weights: Safetensors,
  quantization: QuantizationConfig | undefined,
): Promise<Weight[]> {
  const assembly = new Assembly(weights, quantization);
  for (const tensor of weights.tensors.values()) await assembly.add(tensor);
  return assembly.finish();
}

class Assembly {
  readonly #file: Safetensors;
  readonly #quantization: QuantizationConfig | undefined;
  readonly #whole: Weight[] = [];
  /** Names that are part of a weight. */
  readonly #used = new Set<string>();
  readonly #unpacked: Unpacked = {};

  constructor(file: Safetensors, quantization: QuantizationConfig | undefined) {
    this.#file = file;
    this.#quantization = quantization;
  }

  /** Puts the weight together whose levels a tensor holds. */
  async add(tensor: StoredTensor): Promise<void> {
    const dot = tensor.name.lastIndexOf(".");
    const module = tensor.name.slice(0, dot);
    const method = this.#quantization?.method;
    switch (tensor.name.slice(dot + 1)) {
      case "weight":
        if (method === "fp8" || method === "compressed-tensors") this.#scaled(module, tensor);
        break;
      case "qweight":
        if (method === "gptq" || method === "awq") await this.#grouped(module, tensor);
        break;
      case "weight_packed":
        if (method === "compressed-tensors") await this.#packed(module, tensor);
        break;
    }
  }

  finish(): Weight[] {
    const rest = [...this.#file.tensors.values()].filter(({ name }) => !this.#used.has(name));
    return [...this.#whole, ...rest.map((tensor) => new PlainWeight(this.#file, tensor))];
  }

  #scaled(module: string, levels: StoredTensor): void {
    if (!(BYTE_DTYPES as readonly string[]).includes(levels.dtype)) return;
    const scales = this.#part(module, "weight_scale_inv") ?? this.#part(module, "weight_scale");
    if (scales === undefined) throw lacks(levels.name, "weight_scale_inv");
    refuseZeroPoint(this.#part(module, "weight_zero_point"));
    const [rows = 1, columns = 1] = levels.shape;
    const block = this.#scaleBlock(scales, rows, columns);
    const expected = Math.ceil(rows / block.rows) * Math.ceil(columns / block.columns);
    if (levels.shape.length !== 2 || countOf(scales) !== expected) {
      throw mismatch(scales, `${expected} scales of ${rows} x ${columns} weights`);
    }
    this.#use(levels, scales, ...ACTIVATION_SCALES.map((name) => this.#part(module, name)));
    this.#whole.push(new ScaledWeight(this.#file, levels, scales, block));
  }

  /** One scale for all, one for each row, or blocks as the settings say. */
  #scaleBlock(scales: StoredTensor, rows: number, columns: number): ScaleBlock {
    const count = countOf(scales);
    if (count === 1) return { rows, columns };
    const quantization = this.#quantization;
    if (quantization?.method === "fp8" && quantization.block !== undefined) {
      return quantization.block;
    }
    if (count === rows) return { rows: 1, columns };
    // The blocks of compressed-tensors are square, and whole but for the last.
    const [down = 1, across = 1] = scales.shape;
    const block = 2 ** Math.ceil(Math.log2(Math.max(rows / down, columns / across)));
    return { rows: block, columns: block };
  }

  async #grouped(module: string, levels: StoredTensor): Promise<void> {
    const config = this.#quantization;
    if (config?.method !== "gptq" && config?.method !== "awq") return;
    const scales = this.#part(module, "scales");
    const zeroPoints = this.#part(module, "qzeros");
    const groupOf = this.#part(module, "g_idx");
    if (scales === undefined) throw lacks(levels.name, "scales");
    if (zeroPoints === undefined) throw lacks(levels.name, "qzeros");
    const [first = 0, second = 0] = levels.shape;
    const rows = config.packing === "awq" ? second * LEVELS_PER_WORD : second;
    const columns = config.packing === "awq" ? first : first * LEVELS_PER_WORD;
    const group = config.group === "row" ? columns : config.group;
    const groups = Math.ceil(columns / group);
    checkShape(levels, "I32", [first, second]);
    checkShape(scales, undefined, [groups, rows]);
    checkShape(zeroPoints, "I32", [groups, rows / LEVELS_PER_WORD]);
    const { packing, symmetric } = config;
    const method = config.method === "gptq" ? "GPTQ" : "AWQ";
    const order = await this.#order(groupOf, columns, group);
    const layout = { packing, method, rows, columns, group, order, symmetric };
    this.#push(module, { levels, scales, zeroPoints }, layout);
    this.#use(levels, scales, zeroPoints, groupOf);
  }

  async #packed(module: string, levels: StoredTensor): Promise<void> {
    const scales = this.#part(module, "weight_scale");
    const shape = this.#part(module, "weight_shape");
    const zeroPoints = this.#part(module, "weight_zero_point");
    const groupOf = this.#part(module, "weight_g_idx");
    if (scales === undefined) throw lacks(levels.name, "weight_scale");
    if (shape === undefined) throw lacks(levels.name, "weight_shape");
    const [rows = 0, columns = 0] = await this.#readIntegers(shape);
    if (levels.shape[1] !== columns / LEVELS_PER_WORD) {
      throw new ModelLoadError(
        "model-unsupported",
        `The weight ${levels.name} of ${rows} x ${columns} numbers is packed as [${levels.shape.join(", ")}]; ` +
          "only 4 bits in rows of a multiple of 8 can be read. Use the bf16 checkpoint, the converter quantises it.",
      );
    }
    const groups = scales.shape[1] ?? 1;
    const group = columns / groups;
    checkShape(levels, "I32", [rows, columns / LEVELS_PER_WORD]);
    if (!Number.isInteger(group) || scales.shape[0] !== rows) {
      throw mismatch(scales, `groups of ${rows} x ${columns} weights`);
    }
    if (zeroPoints !== undefined) {
      checkShape(zeroPoints, "I32", [Math.ceil(rows / LEVELS_PER_WORD), groups]);
    }
    const order = await this.#order(groupOf, columns, group);
    const packing = "rows" as const;
    const method = "compressed-tensors";
    const layout = { packing, method, rows, columns, group, order, symmetric: false };
    this.#push(module, { levels, scales, zeroPoints }, layout);
    const activations = ACTIVATION_SCALES.map((name) => this.#part(module, name));
    this.#use(levels, scales, shape, zeroPoints, groupOf, ...activations);
  }

  #push(
    module: string,
    parts: ConstructorParameters<typeof Int4Weight>[2],
    layout: ConstructorParameters<typeof Int4Weight>[3],
  ): void {
    const name = `${module}.weight`;
    this.#whole.push(new Int4Weight(this.#file, name, parts, layout, this.#unpacked));
  }

  /** All columns, group by group; undefined where they lie like that. */
  async #order(
    tensor: StoredTensor | undefined,
    columns: number,
    group: number,
  ): Promise<Int32Array | undefined> {
    if (tensor === undefined) return undefined;
    checkShape(tensor, "I32", [columns]);
    const groupOf = new Int32Array(columns);
    await this.#file.read(tensor, 0, new Uint8Array(groupOf.buffer));
    if (groupOf.every((index) => index === -1)) return undefined; // never filled in
    const order = Int32Array.from(groupOf.keys()).sort(
      (a, b) => (groupOf[a] as number) - (groupOf[b] as number) || a - b,
    );
    const isWhole = order.every((column, place) => groupOf[column] === Math.floor(place / group));
    if (!isWhole) throw mismatch(tensor, `groups of ${group} columns each`);
    return order.every((column, place) => column === place) ? undefined : order;
  }

  async #readIntegers(tensor: StoredTensor): Promise<number[]> {
    const bytes = new Uint8Array(tensor.byteLength);
    await this.#file.read(tensor, 0, bytes);
    if (tensor.dtype === "I64") return Array.from(new BigInt64Array(bytes.buffer), Number);
    if (tensor.dtype === "I32") return Array.from(new Int32Array(bytes.buffer));
    throw mismatch(tensor, "integers");
  }

  #part(module: string, name: string): StoredTensor | undefined {
    return this.#file.tensors.get(`${module}.${name}`);
  }

  #use(...tensors: readonly (StoredTensor | undefined)[]): void {
    for (const tensor of tensors) if (tensor !== undefined) this.#used.add(tensor.name);
  }
}

function countOf({ shape }: StoredTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

function checkShape(
  tensor: StoredTensor,
  dtype: string | undefined,
  shape: readonly number[],
): void {
  const same = tensor.shape.length === shape.length && shape.every((n, i) => n === tensor.shape[i]);
  if (!same || (dtype !== undefined && tensor.dtype !== dtype)) {
    throw mismatch(tensor, `${dtype ?? "numbers"} [${shape.join(", ")}]`);
  }
}

function refuseZeroPoint(tensor: StoredTensor | undefined): void {
  if (tensor === undefined) return;
  throw new ModelLoadError(
    "model-unsupported",
    `${tensor.name} gives 8-bit weights a zero point, which cannot be read. Use the bf16 checkpoint, the converter quantises it.`,
  );
}

function lacks(levels: string, part: string): ModelLoadError {
  return new ModelLoadError(
    "model-corrupt",
    `${levels} is quantised, and its ${part} is missing.`,
    {
      missing: [`${levels.slice(0, levels.lastIndexOf("."))}.${part}`],
    },
  );
}

function mismatch({ name, dtype, shape }: StoredTensor, expected: string): ModelLoadError {
  return new ModelLoadError(
    "model-corrupt",
    `Expected ${name} to hold ${expected}, got ${dtype} [${shape.join(", ")}]. ` +
      "Use the config.json that was saved with these weights.",
  );
}
