// From stored tensors to weights: a plain tensor is one, a quantised one is put together from its parts. In: headers
// and how the checkpoint was quantised. Out: weights, each under `….weight`; what belongs to no known family stays as
// it is, for others to name. Reads no levels, only which column belongs to which group.

import { ModelLoadError } from "../errors.ts";
import { Int4Weight, type Unpacked } from "./int4-weight.ts";
import type { QuantizationConfig } from "./quantization-config.ts";
import type { Safetensors, StoredTensor } from "./safetensors.ts";
import {
  BYTE_DTYPES,
  type ByteFormat,
  type LastBlocks,
  type ScaleBlock,
  type ScaledLayout,
  type ScaledParts,
  ScaledWeight,
} from "./scaled-weight.ts";
import { PlainWeight, type Weight } from "./weight.ts";

/** Of activations, and of keys and values: those stay as they are. */
const ACTIVATION_PART =
  /\.(?:(?:input|output|activation|[qkv]|kv|prob|prob_output|softmax)_(?:scale|zero_point|global_scale|g_idx)|input_scale_ub)$/;
const SCALE_DTYPES = ["F32", "BF16", "F16"];
const LEVELS_PER_WORD = 8;
const BYTES_PER_WORD = 4;

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
  readonly #lastBlocks: LastBlocks = {};

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
    const rest = [...this.#file.tensors.values()].filter(
      ({ name }) =>
        !this.#used.has(name) && !(this.#quantization !== undefined && ACTIVATION_PART.test(name)),
    );
    return [...this.#whole, ...rest.map((tensor) => new PlainWeight(this.#file, tensor))];
  }

  #scaled(module: string, levels: StoredTensor): void {
    const format = BYTE_DTYPES.find((dtype) => dtype === levels.dtype);
    if (format === undefined) return;
    const scales = this.#part(module, "weight_scale_inv") ?? this.#part(module, "weight_scale");
    const zeroPoints = this.#part(module, "weight_zero_point");
    if (scales === undefined) throw lacks(levels.name, "weight_scale_inv");
    const [rows, columns, ...more] = levels.shape;
    if (rows === undefined || columns === undefined || more.length > 0) {
      throw mismatch(levels, "a matrix");
    }
    if (zeroPoints !== undefined) checkShape(zeroPoints, "I8", scales.shape);
    this.#pushScaled(module, { levels, scales, zeroPoints }, { rows, columns, format });
  }

  #pushScaled(
    module: string,
    parts: ScaledParts,
    layout: Pick<ScaledLayout, "rows" | "columns"> & { readonly format: ByteFormat },
  ): void {
    const { levels, scales, zeroPoints } = parts;
    checkScales(scales, [...SCALE_DTYPES, "F8_E8M0"]);
    const block = this.#scaleBlock(scales, layout.rows, layout.columns);
    this.#use(levels, scales, zeroPoints);
    const whole = { ...layout, block };
    const weight = `${module}.weight`;
    this.#whole.push(new ScaledWeight(this.#file, weight, parts, whole, this.#lastBlocks));
  }

  /** One scale for all, one for each row, or blocks as the settings say. */
  #scaleBlock(scales: StoredTensor, rows: number, columns: number): ScaleBlock {
    const [down = 1, across = 1, ...more] = scales.shape;
    const quantization = this.#quantization;
    const said = quantization && "blocks" in quantization ? quantization.blocks : [];
    const found = [{ rows, columns }, { rows: 1, columns }, ...said].find(
      (block) =>
        Math.ceil(rows / block.rows) === down && Math.ceil(columns / block.columns) === across,
    );
    if (found !== undefined && more.length === 0) return found;
    const sizes = said.map((block) => `${block.rows} x ${block.columns}`);
    throw mismatch(
      scales,
      `a scale for all, for each row${sizes.length === 0 ? "" : `, or for blocks of ${sizes.join(" or ")}`} of ${rows} x ${columns} weights`,
    );
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
    // Modules may have groups of their own size.
    const sizes = config.groups.map((size) => (size === "row" ? columns : size));
    const fits = (size: number) => Math.ceil(columns / size) === scales.shape[0];
    const group = sizes.find(fits) ?? sizes[0] ?? columns;
    const groups = Math.ceil(columns / group);
    checkShape(levels, "I32", [first, second]);
    checkScales(scales, SCALE_DTYPES);
    checkShape(scales, undefined, [groups, rows]);
    checkShape(zeroPoints, "I32", [groups, rows / LEVELS_PER_WORD]);
    const { packing, symmetric, writer: method } = config;
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
    if (levels.dtype !== "I32") throw refusedFloats(levels);
    if (scales === undefined) throw lacks(levels.name, "weight_scale");
    if (shape === undefined) throw lacks(levels.name, "weight_shape");
    const [rows = 0, columns = 0] = await this.#readIntegers(shape);
    if (levels.shape[1] === columns / BYTES_PER_WORD && groupOf === undefined) {
      this.#packedBytes(module, { levels, scales, zeroPoints }, rows, columns);
      this.#use(shape);
      return;
    }
    if (levels.shape[1] !== columns / LEVELS_PER_WORD) {
      throw new ModelLoadError(
        "model-unsupported",
        `The weight ${levels.name} of ${rows} x ${columns} numbers is packed as [${levels.shape.join(", ")}]; ` +
          "only 4 and 8 bits in rows of whole words can be read. Use the bf16 checkpoint, the converter quantises it.",
      );
    }
    checkScales(scales, SCALE_DTYPES);
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
    this.#use(levels, scales, shape, zeroPoints, groupOf);
  }

  /** 8 bits, four columns of a row in a word. */
  #packedBytes(module: string, parts: ScaledParts, rows: number, columns: number): void {
    const { levels, scales, zeroPoints } = parts;
    checkShape(levels, "I32", [rows, columns / BYTES_PER_WORD]);
    if (zeroPoints !== undefined) {
      const [down = 1, across = 1] = scales.shape;
      checkShape(zeroPoints, "I32", [Math.ceil(down / BYTES_PER_WORD), across]);
    }
    this.#pushScaled(module, parts, { rows, columns, format: "I8+128" });
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

function checkScales(scales: StoredTensor, readable: readonly string[]): void {
  if (readable.includes(scales.dtype)) return;
  throw new ModelLoadError(
    "model-unsupported",
    `The scales ${scales.name} are stored as ${scales.dtype}; only ${readable.join(", ")} can be read. ` +
      "Use the bf16 checkpoint, the converter quantises it.",
  );
}

function refusedFloats({ name, dtype }: StoredTensor): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `${name} is stored as ${dtype}, as 4-bit floats are (NVFP4, MXFP4); of packed weights only integers of 4 and 8 bits ` +
      "can be read. Use the bf16 checkpoint, the converter quantises it.",
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
