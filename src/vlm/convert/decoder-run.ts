// A run of the decoder on random tokens. Out: what every product reads, in the order of computation. The channels of a
// trained model differ in ways that no weight shows alone: a small norm weight often means large values before it. So its
// own embeddings and layers have to speak. In f32, one layer at a time; rotations are left out, as they change no
// channel's size, and pictures, whose tokens come from elsewhere.

import type { Qwen3VlConfig, TextConfig } from "../checkpoint/config.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import { TimeSlice } from "../event-loop/time-slice.ts";
import type { Matrix } from "./layer-errors.ts";
import type { RowReader } from "./row-reader.ts";

const TOKENS = 16;
const ROOT = "model.language_model.";

/** What a product reads; `name` as in `ProductInput`. */
export interface PseudoInput {
  readonly name: string;
  readonly values: Matrix;
}

/** Ask for the layers from the first to the last, then for the end. */
export class DecoderRun {
  readonly #weights: Run;
  readonly #text: TextConfig;
  #x: Matrix;

  private constructor(weights: Run, text: TextConfig, x: Matrix) {
    this.#weights = weights;
    this.#text = text;
    this.#x = x;
  }

  static async begin(reader: RowReader, { text }: Qwen3VlConfig): Promise<DecoderRun> {
    const weights = new Run(reader);
    return new DecoderRun(weights, text, await weights.embed(text.vocabSize));
  }

  /** Goes on behind a layer. @param values what `values` was there */
  static resume(
    reader: RowReader,
    { text }: Qwen3VlConfig,
    values: Float32Array<ArrayBuffer>,
  ): DecoderRun {
    const x = { values, rows: TOKENS, columns: text.hiddenSize };
    return new DecoderRun(new Run(reader), text, x);
  }

  /** Between two layers: the residual stream, (TOKENS, H). */
  get values(): Float32Array {
    return this.#x.values;
  }

  async *layer(layer: number): AsyncGenerator<PseudoInput> {
    const run = this.#weights;
    const text = this.#text;
    const x = this.#x;
    const name = `layers.${layer}`;
    const weight = (part: string) => `${ROOT}${name}.${part}.weight`;
    const before = await run.rmsNorm(x, weight("input_layernorm"), text.rmsNormEps);
    yield { name: `${name}.self_attn.qkv`, values: before };
    const head = async (part: "q" | "k") => {
      const rows = await run.product(before, weight(`self_attn.${part}_proj`));
      const heads = { ...rows, rows: rows.values.length / text.headSize, columns: text.headSize };
      const normed = await run.rmsNorm(heads, weight(`self_attn.${part}_norm`), text.rmsNormEps);
      return { ...normed, rows: rows.rows, columns: rows.columns };
    };
    const value = await run.product(before, weight("self_attn.v_proj"));
    const mixed = attention(await head("q"), await head("k"), value, text);
    yield { name: `${name}.self_attn.o_proj`, values: mixed };
    const middle = add(x, await run.product(mixed, weight("self_attn.o_proj")));
    const norm = weight("post_attention_layernorm");
    const after = await run.rmsNorm(middle, norm, text.rmsNormEps);
    yield { name: `${name}.mlp.gate_up`, values: after };
    const gate = activate(await run.product(after, weight("mlp.gate_proj")), silu);
    const up = await run.product(after, weight("mlp.up_proj"));
    const values = gate.values.map((g, i) => g * (up.values[i] as number));
    const inner = { ...gate, values };
    yield { name: `${name}.mlp.down_proj`, values: inner };
    this.#x = add(middle, await run.product(inner, weight("mlp.down_proj")));
  }

  async *end(): AsyncGenerator<PseudoInput> {
    const { rmsNormEps } = this.#text;
    const values = await this.#weights.rmsNorm(this.#x, `${ROOT}norm.weight`, rmsNormEps);
    yield { name: "logits", values };
  }
}

/** The steps that need weights. */
class Run {
  readonly #reader: RowReader;
  readonly #random = new RandomNumbers();

  constructor(reader: RowReader) {
    this.#reader = reader;
  }

  /** Random tokens, (T, H) */
  async embed(vocabulary: number): Promise<Matrix> {
    const rows: Float32Array[] = [];
    for (let token = 0; token < TOKENS; token++) {
      const id = Math.floor(this.#random.uniform() * vocabulary);
      rows.push((await this.#reader.read(EMBED_TOKENS, id, 1)).slice());
    }
    const columns = rows[0]?.length ?? 0;
    const values = new Float32Array(TOKENS * columns);
    rows.forEach((row, i) => {
      values.set(row, i * columns);
    });
    return { values, rows: TOKENS, columns };
  }

  /** x (T, K) times weight (N, K) -> (T, N) */
  async product(x: Matrix, weight: string): Promise<Matrix> {
    const columns = this.#reader.rows(weight);
    const values = new Float32Array(x.rows * columns);
    const slice = new TimeSlice();
    for await (const { weights, firstRow, rows } of this.#reader.blocks([weight])) {
      for (let row = 0; row < rows; row++) {
        if (slice.over) await slice.rest();
        multiplyRow(weights, row * x.columns, x, values, firstRow + row);
      }
    }
    return { values, rows: x.rows, columns };
  }

  async rmsNorm({ values, rows, columns }: Matrix, name: string, eps: number): Promise<Matrix> {
    const weight = await this.#reader.read(name, 0, columns);
    const result = new Float32Array(values.length);
    for (let start = 0; start < values.length; start += columns) {
      const part = values.subarray(start, start + columns);
      const square = part.reduce((sum, value) => sum + value * value, 0) / columns;
      const inverse = 1 / Math.sqrt(square + eps);
      part.forEach((value, i) => {
        result[start + i] = value * inverse * (weight[i] as number);
      });
    }
    return { values: result, rows, columns };
  }
}

/** One output channel for all tokens; four tokens at a time, so that each weight is loaded a quarter as often. */
function multiplyRow(
  weights: Float32Array,
  start: number,
  { values: x, rows, columns }: Matrix,
  values: Float32Array,
  column: number,
): void {
  const width = values.length / rows;
  for (let token = 0; token < rows; token += 4) {
    const last = rows - 1;
    const a = token * columns - start;
    const b = Math.min(token + 1, last) * columns - start;
    const c = Math.min(token + 2, last) * columns - start;
    const d = Math.min(token + 3, last) * columns - start;
    let sumA = 0;
    let sumB = 0;
    let sumC = 0;
    let sumD = 0;
    for (let i = start; i < start + columns; i++) {
      const weight = weights[i] as number;
      sumA += weight * (x[a + i] as number);
      sumB += weight * (x[b + i] as number);
      sumC += weight * (x[c + i] as number);
      sumD += weight * (x[d + i] as number);
    }
    values[token * width + column] = sumA;
    if (token + 1 <= last) values[(token + 1) * width + column] = sumB;
    if (token + 2 <= last) values[(token + 2) * width + column] = sumC;
    if (token + 3 <= last) values[(token + 3) * width + column] = sumD;
  }
}

/** Causal. q (T, heads * size), k and v (T, kvHeads * size) -> (T, heads * size) */
function attention(
  q: Matrix,
  k: Matrix,
  v: Matrix,
  { heads, kvHeads }: { readonly heads: number; readonly kvHeads: number },
): Matrix {
  const size = q.columns / heads;
  const values = new Float32Array(q.values.length);
  for (let head = 0; head < heads; head++) {
    const shared = Math.floor(head / (heads / kvHeads)) * size;
    for (let row = 0; row < q.rows; row++) {
      const from = row * q.columns + head * size;
      const scores = Array.from({ length: row + 1 }, (_, other) => {
        let score = 0;
        for (let i = 0; i < size; i++) {
          score +=
            (q.values[from + i] as number) * (k.values[other * k.columns + shared + i] as number);
        }
        return score / Math.sqrt(size);
      });
      const largest = Math.max(...scores);
      const shares = scores.map((score) => Math.exp(score - largest));
      const total = shares.reduce((sum, share) => sum + share, 0);
      shares.forEach((share, other) => {
        for (let i = 0; i < size; i++) {
          const value = v.values[other * v.columns + shared + i] as number;
          values[from + i] = (values[from + i] as number) + (share / total) * value;
        }
      });
    }
  }
  return { ...q, values };
}

function add(a: Matrix, b: Matrix): Matrix {
  return { ...a, values: a.values.map((value, i) => value + (b.values[i] as number)) };
}

function activate(x: Matrix, function_: (value: number) => number): Matrix {
  return { ...x, values: x.values.map(function_) };
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** The same on every machine. */
class RandomNumbers {
  #state = 0x9e3779b9;

  /** Between 0 and 1. */
  uniform(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) / 2 ** 32;
  }
}
