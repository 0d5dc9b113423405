// How fast this CPU multiplies: products as the decoder has them, by number format and rows, and how fast it reads
// weights while it does. Out: numbers. It knows nothing of models; the weights are noise.

import { randomFillSync } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { type CpuPrecision, type Int8Weights, LinearLayers } from "../convert/linear-layers.ts";
import { type ExternalTensor, OnnxModel } from "../convert/onnx-model.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

/** Speed of a product of `rows` activations with weights that no cache holds. */
export interface ProductSpeed {
  readonly precision: CpuPrecision;
  readonly rows: number;
  /** Multiplications and additions in 10^9 a second. */
  readonly gigaOps: number;
  /** Bytes of weights read, in 10^9 a second. */
  readonly gigaBytes: number;
}

/** K and N of each product: the sizes of a 2B. */
const COLUMNS = 2048;
const ROWS = 4096;
/** Bytes of weights in one run: more than most caches hold. */
const WEIGHT_BYTES: Readonly<Record<CpuPrecision, number>> = {
  fp32: 2 ** 26,
  w8a8: 2 ** 26,
  q4: 2 ** 26,
};
const BYTES_PER_WEIGHT: Readonly<Record<CpuPrecision, number>> = { fp32: 4, w8a8: 1, q4: 0.5 };
/** Rows of a decode step for one to eight chats, and of a piece of a prompt. */
const FEW_ROWS = [1, 2, 4, 8];
const MANY_ROWS = 64;
/** What CPUs with matrix units need to show what they can; tried where a run takes no longer than this. */
const EVEN_MORE_ROWS = 256;
const LONGEST_RUN_MS = 160;
const REPEATS = 3;
/** Noise is made in pieces: each takes less than a millisecond. */
const NOISE_BYTES = 2 ** 20;

export interface ProductOptions extends SessionOptions {
  readonly int8Weights: Int8Weights;
}

/** Measures one number format in about a third of a second. */
export async function measureProducts(
  precision: CpuPrecision,
  { int8Weights, ...options }: ProductOptions,
): Promise<ProductSpeed[]> {
  const pairs = WEIGHT_BYTES[precision] / BYTES_PER_WEIGHT[precision] / COLUMNS / ROWS / 2;
  const model = new OnnxModel("products");
  const layers = new LinearLayers(model, int8Weights);
  let x = model.input("activations", "f32", ["rows", COLUMNS]);
  for (let pair = 0; pair < pairs; pair++) {
    const up = { sources: [], rows: ROWS, columns: COLUMNS };
    const down = { sources: [], rows: COLUMNS, columns: ROWS };
    x = layers.product(`up.${pair}`, x, up, precision);
    x = layers.product(`down.${pair}`, x, down, precision);
  }
  model.output(x, "f32", ["rows", COLUMNS]);
  const weights = await noise(model.externals);
  try {
    const bytes = model.serialize("products.data", "1");
    await using session = await Session.load(bytes, { ...options, externalInitializers: weights });
    const operations = 2 * pairs * 2 * COLUMNS * ROWS;
    const speeds: ProductSpeed[] = [];
    let expectedMs = 0;
    for (const rows of [...FEW_ROWS, MANY_ROWS, EVEN_MORE_ROWS]) {
      if (rows > MANY_ROWS && expectedMs > LONGEST_RUN_MS) break;
      const ms = await fastest(session, x, rows);
      expectedMs = (ms * EVEN_MORE_ROWS) / rows;
      speeds.push({
        precision,
        rows,
        gigaOps: (rows * operations) / ms / 1e6,
        gigaBytes: WEIGHT_BYTES[precision] / ms / 1e6,
      });
    }
    return speeds;
  } finally {
    for (const value of Object.values(weights)) value.dispose();
  }
}

/** Milliseconds of the fastest of a few runs: whatever else the machine does only makes them slower. */
async function fastest(session: Session, output: string, rows: number): Promise<number> {
  const data = new Float32Array(rows * COLUMNS);
  for (let i = 0; i < data.length; i++) data[i] = (i & 63) - 31;
  using activations = Value.of(data, [rows, COLUMNS]);
  using result = Value.of(new Float32Array(rows * COLUMNS), [rows, COLUMNS]);
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const start = performance.now();
    await session.run({ activations }, { [output]: result });
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** Weights and scales that differ from tensor to tensor: ONNX Runtime would keep equal ones once. */
async function noise(tensors: readonly ExternalTensor[]): Promise<Record<string, Value>> {
  const values: Record<string, Value> = {};
  for (const { name, type, shape, byteLength } of tensors) {
    const bytes = new Uint8Array(byteLength);
    if (type === "f32") {
      const floats = new Float32Array(bytes.buffer);
      const seed = 1 + Object.keys(values).length;
      for (let start = 0; start < floats.length; start += NOISE_BYTES / 4) {
        const end = Math.min(start + NOISE_BYTES / 4, floats.length);
        for (let i = start; i < end; i++) floats[i] = ((i * seed * 40_503) & 0xffff) * 1e-9;
        await setImmediate();
      }
      values[name] = Value.of(floats, shape);
      continue;
    }
    for (let start = 0; start < byteLength; start += NOISE_BYTES) {
      randomFillSync(bytes, start, Math.min(NOISE_BYTES, byteLength - start));
      await setImmediate();
    }
    values[name] = Value.of(type === "i8" ? new Int8Array(bytes.buffer) : bytes, shape);
  }
  return values;
}
