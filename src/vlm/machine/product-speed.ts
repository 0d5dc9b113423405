// How fast this CPU multiplies: products as the decoder has them, by number format and rows, and how fast it reads
// weights while it does. Out: numbers. It knows nothing of models; the weights are noise.

import { type CpuPrecision, type Int8Weights, LinearLayers } from "../convert/linear-layers.ts";
import { type ExternalTensor, OnnxModel } from "../convert/onnx-model.ts";
import type { ElementType } from "../runtime/element-type.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import { fastestRun, type Measurable } from "./fastest-run.ts";
import type { Noise } from "./noise.ts";

/** Speed of a product of `rows` activations with weights that no cache holds. */
export interface ProductSpeed {
  readonly precision: CpuPrecision;
  readonly rows: number;
  /** Multiplications and additions in 10^9 a second. */
  readonly gigaOps: number;
  /** Bytes of weights read, in 10^9 a second. */
  readonly gigaBytes: number;
}

/** Widths of activations, the sizes of a 2B: K and N of a product, and N and K of the next. */
const [NARROW, WIDE] = [2048, 4096];
/** Bytes of the weights of one product at most. */
export const PRODUCT_BYTES = NARROW * WIDE * 4;
/**
 * Products in a run of few rows: together their weights are more than most caches hold. Those of 4 bits come from memory
 * slower than they are used, so fewer bytes do.
 */
const PRODUCTS: Readonly<Record<CpuPrecision, number>> = { fp32: 2, w8a8: 6, q4: 10 };
const BYTES_PER_WEIGHT: Readonly<Record<CpuPrecision, number>> = { fp32: 4, w8a8: 1, q4: 0.5 };
/** Rows of a decode step for one to eight chats. */
const FEW_ROWS = [1, 2, 4, 8];
/** Of a piece of a prompt: there arithmetic is what takes the time, and one product shows how fast it is. */
const MANY_ROWS = 64;
/** What CPUs with matrix units need to show what they can; tried where a run takes no longer than this. */
const EVEN_MORE_ROWS = 256;
const LONGEST_RUN_MS = 160;

export interface ProductOptions extends SessionOptions {
  readonly int8Weights: Int8Weights;
  readonly noise: Noise;
}

/** Products of one number format, ready to be measured. */
export function loadProducts(
  precision: CpuPrecision,
  options: ProductOptions,
): Promise<Measurable<ProductSpeed[]>> {
  return Products.load(precision, options);
}

class Products implements Measurable<ProductSpeed[]> {
  readonly #precision: CpuPrecision;
  readonly #few: Chain;
  readonly #many: Chain;

  private constructor(precision: CpuPrecision, few: Chain, many: Chain) {
    this.#precision = precision;
    this.#few = few;
    this.#many = many;
  }

  static async load(precision: CpuPrecision, options: ProductOptions): Promise<Products> {
    const few = await Chain.load(precision, PRODUCTS[precision], options);
    try {
      return new Products(precision, few, await Chain.load(precision, 1, options));
    } catch (error) {
      await few.dispose();
      throw error;
    }
  }

  /** Takes about a sixth of a second. */
  async measure(noise: Noise): Promise<ProductSpeed[]> {
    const speeds: ProductSpeed[] = [];
    const add = async (chain: Chain, rows: number) => {
      const ms = await chain.measure(rows, noise);
      const perMs = (amount: number) => (amount * chain.products * NARROW * WIDE) / ms / 1e6;
      const gigaBytes = perMs(BYTES_PER_WEIGHT[this.#precision]);
      speeds.push({ precision: this.#precision, rows, gigaOps: perMs(2 * rows), gigaBytes });
      return ms;
    };
    for (const rows of FEW_ROWS) await add(this.#few, rows);
    const ms = await add(this.#many, MANY_ROWS);
    if ((ms * EVEN_MORE_ROWS) / MANY_ROWS <= LONGEST_RUN_MS) {
      await add(this.#many, EVEN_MORE_ROWS);
    }
    return speeds;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#few.dispose(), this.#many.dispose()]);
  }
}

/** @throws TypeError for what no CPU multiplies in */
function inMemory(type: ExternalTensor["type"]): ElementType {
  if (type === "bf16") throw new TypeError("bf16 is not measured on a CPU");
  return type;
}

/** Products one after the other, up and down again. */
class Chain {
  readonly products: number;
  readonly #session: Session;

  private constructor(products: number, session: Session) {
    this.products = products;
    this.#session = session;
  }

  static async load(
    precision: CpuPrecision,
    products: number,
    { int8Weights, noise, ...options }: ProductOptions,
  ): Promise<Chain> {
    const model = new OnnxModel("products");
    const layers = new LinearLayers(model, int8Weights);
    let x = model.input("activations", "f32", ["rows", NARROW]);
    for (let index = 0; index < products; index++) {
      const [columns, rows] = widths(index);
      x = layers.product(`product.${index}`, x, { sources: [], rows, columns }, precision);
    }
    model.output(x, "f32", ["rows", widths(products - 1)[1]]);
    const externalInitializers = Object.fromEntries(
      model.externals.map(({ name, type, shape }) => [name, noise.tensor(inMemory(type), shape)]),
    );
    const bytes = model.serialize("products.data", "1");
    return new Chain(products, await Session.load(bytes, { ...options, externalInitializers }));
  }

  /** Milliseconds of a run at its best. */
  async measure(rows: number, noise: Noise): Promise<number> {
    const width = widths(this.products - 1)[1];
    const activations = noise.tensor("f32", [rows, NARROW]);
    using result = Value.of(new Float32Array(rows * width), [rows, width]);
    const outputs = { [this.#session.outputs[0]!.name]: result };
    return await fastestRun(() => this.#session.run({ activations }, outputs));
  }

  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}

/** K and N of a product, by its place in the chain. */
function widths(index: number): [columns: number, rows: number] {
  return index % 2 === 0 ? [NARROW, WIDE] : [WIDE, NARROW];
}
