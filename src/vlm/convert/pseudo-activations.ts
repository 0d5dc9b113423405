// What the inputs of products in the vision encoder look like, guessed from the weights alone: a norm gives bell-shaped
// values of its own weight's size, a product the mean and spread that follow, GELU what it makes of them. In: where an
// input comes from. Out: a few rows of such values, the same on every machine. No data, no model run.

import type { NormOrigin, Origin, ProductInput, RowsOrigin } from "./product-inputs.ts";
import type { RowReader } from "./row-reader.ts";

/** Tokens that are made up. */
export const PSEUDO_TOKENS = 32;

/** One mean and one standard deviation for each channel. */
interface Spread {
  readonly means: Float32Array;
  readonly deviations: Float32Array;
}

/** @returns (PSEUDO_TOKENS, columns) */
export async function pseudoActivations(
  reader: RowReader,
  { columns, channelOf = (column) => column }: ProductInput,
  origin: Origin,
): Promise<Float32Array> {
  const { means, deviations } = await spreadOf(reader, origin);
  const normal = new NormalNumbers();
  const values = new Float32Array(PSEUDO_TOKENS * columns);
  for (let i = 0; i < values.length; i++) {
    const channel = channelOf(i % columns);
    const value = (means[channel] as number) + (deviations[channel] as number) * normal.next();
    values[i] = origin.kind === "gelu" ? gelu(value) : value;
  }
  return values;
}

async function spreadOf(reader: RowReader, origin: Origin): Promise<Spread> {
  switch (origin.kind) {
    case "norm":
      return await normSpread(reader, origin);
    case "attention":
      return await rowSpread(reader, origin.values);
    case "gelu":
      return await rowSpread(reader, origin.inner);
    default:
      throw new TypeError(`Unknown origin ${origin satisfies never}.`);
  }
}

async function normSpread(reader: RowReader, { weight, bias }: NormOrigin): Promise<Spread> {
  const size = reader.rows(weight);
  const deviations = (await reader.read(weight, 0, size)).map(Math.abs);
  const means =
    bias === undefined ? new Float32Array(size) : (await reader.read(bias, 0, size)).slice();
  return { means, deviations };
}

/** Of the rows of a product whose input channels are independent of each other. */
async function rowSpread(reader: RowReader, origin: RowsOrigin): Promise<Spread> {
  const { weight, bias, firstRow, rows, input } = origin;
  const from = await normSpread(reader, input);
  const means =
    bias === undefined ? new Float32Array(rows) : (await reader.read(bias, firstRow, rows)).slice();
  const deviations = new Float32Array(rows);
  const size = from.means.length;
  for await (const block of reader.blocks([weight])) {
    for (let i = 0; i < block.rows; i++) {
      const row = block.firstRow + i - firstRow;
      if (row < 0 || row >= rows) continue;
      let mean = means[row] as number;
      let variance = 0;
      for (let column = 0, channel = 0; column < block.columns; column++, channel++) {
        // A joined row of several patches repeats the channels of its norm.
        if (channel === size) channel = 0;
        const value = block.weights[i * block.columns + column] as number;
        const spread = value * (from.deviations[channel] as number);
        mean += value * (from.means[channel] as number);
        variance += spread * spread;
      }
      means[row] = mean;
      deviations[row] = Math.sqrt(variance);
    }
  }
  return { means, deviations };
}

/** The tanh form; how it differs from the exact one is of no interest here. */
function gelu(x: number): number {
  return x / (1 + Math.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)));
}

const TABLE_BITS = 16;
let normalTable: Float32Array | undefined;

/** Nearly normal numbers without logarithms, whose last bits differ between machines. */
class NormalNumbers {
  readonly #table = normalNumbers();
  #place = 0;

  next(): number {
    this.#place = (this.#place + 1) & (this.#table.length - 1);
    return this.#table[this.#place] as number;
  }
}

/** Sums of twelve uniform numbers: their variance is one. */
function normalNumbers(): Float32Array {
  if (normalTable !== undefined) return normalTable;
  let state = 0x9e3779b9;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  normalTable = Float32Array.from({ length: 1 << TABLE_BITS }, () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum;
  });
  return normalTable;
}
