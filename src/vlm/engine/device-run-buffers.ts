// The inputs and outputs of decoder runs on a graphics card, but for keys and values: small arrays that travel in one
// copy each way, and large ones that stay on the card. It knows the names of the graph in device-decoder-graph.ts.

import type { DeviceMemory } from "../runtime/device-memory.ts";
import { Staging } from "../runtime/device-memory.ts";
import type { NamedValues } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

/** Sizes of the decoder. */
export interface DeviceDecoderSizes {
  readonly hiddenSize: number;
  readonly headSize: number;
  readonly vocabSize: number;
  readonly deepstackTaps: number;
  /** Candidates that come with each row. */
  readonly candidates: number;
}

export interface DeviceRunShape {
  /** Sequences: B. */
  readonly batch: number;
  /** Tokens of each: S. */
  readonly tokens: number;
  /** Of how many tokens scores are wanted: the last R of all B * S. */
  readonly rows: number;
}

/** Arrays of one shape of run. */
export class DeviceRunBuffers {
  readonly ids: BigInt64Array;
  readonly positions: BigInt64Array;
  /** Valid length of each sequence after the run, minus 1. */
  readonly lastIndices: Int32Array;
  /** 1 where a token is a picture's. */
  readonly mask: Uint8Array;
  /** (R, k) */
  readonly topScores: Float32Array;
  readonly topIds: BigInt64Array;
  readonly inputs: NamedValues;
  readonly outputs: NamedValues;
  readonly up: Staging;
  readonly down: Staging;
  readonly #longest = new Int32Array(1);
  readonly #logits: Value;
  readonly #owned: Value[];

  private constructor(
    { vocabSize, candidates }: DeviceDecoderSizes,
    { batch, tokens, rows }: DeviceRunShape,
    up: Staging,
    down: Staging,
    logits: Value,
  ) {
    this.up = up;
    this.down = down;
    const ids = up.take("i64", [batch, tokens]);
    const positions = up.take("i64", [batch, tokens]);
    const lastIndices = up.take("i32", [batch]);
    const wanted = up.take("i64", [rows]);
    const mask = up.take("bool", [batch, tokens, 1]);
    const topScores = down.take("f32", [rows, candidates]);
    const topIds = down.take("i64", [rows, candidates]);
    for (let row = 0; row < rows; row++) wanted.array[row] = BigInt(batch * tokens - rows + row);
    mask.array.fill(0);
    const longest = Value.of(this.#longest, []);
    this.ids = ids.array;
    this.positions = positions.array;
    this.lastIndices = lastIndices.array;
    this.mask = mask.array;
    this.topScores = topScores.array;
    this.topIds = topIds.array;
    const logitsView = logits.slice(0, [rows, vocabSize]);
    this.#logits = logitsView;
    this.#owned = [longest, logitsView];
    this.inputs = {
      input_ids: ids.value,
      position_ids: positions.value,
      seqlens_k: lastIndices.value,
      total_sequence_length: longest,
      logit_rows: wanted.value,
      image_mask: mask.value,
    };
    this.outputs = { logits: logitsView, top_scores: topScores.value, top_ids: topIds.value };
  }

  /** @param logits memory for at least R rows, shared with other shapes */
  static async create(
    memory: DeviceMemory,
    sizes: DeviceDecoderSizes,
    shape: DeviceRunShape,
    logits: Value,
  ): Promise<DeviceRunBuffers> {
    const { batch, tokens, rows } = shape;
    const { candidates } = sizes;
    const upBytes =
      2 * Staging.bytes("i64", [batch, tokens]) +
      Staging.bytes("i32", [batch]) +
      Staging.bytes("i64", [rows]) +
      Staging.bytes("bool", [batch, tokens]);
    const downBytes =
      Staging.bytes("f32", [rows, candidates]) + Staging.bytes("i64", [rows, candidates]);
    const up = await memory.stage(upBytes, "inputs of a run");
    const down = await memory.stage(downBytes, "candidates").catch((error: unknown) => {
      up.dispose();
      throw error;
    });
    return new DeviceRunBuffers(sizes, shape, up, down, logits);
  }

  /**
   * Says how many tokens each sequence has after the run.
   *
   * @param bound what the longest may have; recorded runs have it frozen
   */
  setLengths(lengths: readonly number[], bound: number = Math.max(...lengths)): void {
    for (const [row, length] of lengths.entries()) this.lastIndices[row] = length - 1;
    this.#longest[0] = bound;
  }

  /** Logits of all rows, (R, vocabulary), on the device. */
  get logits(): Value {
    return this.#logits;
  }

  dispose(): void {
    for (const value of this.#owned) value.dispose();
    this.up.dispose();
    this.down.dispose();
  }
}
