// The decoder of a package that another program made: embeddings, a mask and M-RoPE positions in, logits out, and keys and
// values that come back one run longer than they went in. It computes one sequence at a time, several one after the other.
// It knows nothing of text, of sampling or of who asks.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { ModelLoadError } from "../errors.ts";
import type { ForeignGraph } from "../foreign/foreign-files.ts";
import { OrtError } from "../runtime/ort-error.ts";
import type { NamedValues, Session, SessionOptions } from "../runtime/session.ts";
import type { TensorSpec } from "../runtime/signature.ts";
import { elementBytes, Value } from "../runtime/value.ts";
import type {
  AppendOptions,
  BackendRunOptions,
  DecodeRow,
  DecoderBackend,
  DecoderInput,
} from "./decoder-backend.ts";
import { checkInput } from "./decoder-input.ts";
import type { EmbeddingGraph } from "./embedding-graph.ts";
import { FloatOutput, floatInput } from "./float-values.ts";
import { FLOATS, floatType, hasTensor, loadForeignGraph } from "./foreign-graph.ts";
import type { GrowingSlot } from "./growing-slot.ts";
import { GrowingSlots } from "./growing-slots.ts";
import { atStage } from "./inference-error.ts";
import { type KvPart, kvParts } from "./kv-slabs.ts";
import { placeFeatures } from "./place-features.ts";

/** Logits of every token of a run, where nothing less can be had: 78 MB of a vocabulary of 151 936. */
const LONGEST_RUN = 128;

interface GrowingRow extends DecodeRow {
  readonly slot: GrowingSlot;
}

/** A loaded decoder. */
export class GrowingDecoder implements DecoderBackend {
  /** Does it take DeepStack features? */
  readonly hasDeepstack: boolean;
  /** Most tokens of one run that do not cost more than they are worth. */
  readonly mostTokens: number;
  readonly #session: Session;
  readonly #embedding: EmbeddingGraph;
  readonly #config: Qwen3VlConfig;
  readonly #parts: readonly KvPart[];
  readonly #logits: FloatOutput;
  readonly #keepsLogits: boolean;
  readonly #pools = new Set<GrowingSlots>();

  private constructor(session: Session, embedding: EmbeddingGraph, config: Qwen3VlConfig) {
    this.#session = session;
    this.#embedding = embedding;
    this.#config = config;
    this.#parts = kvParts(withSizes(session.inputs, config.text));
    this.#logits = new FloatOutput(floatType(session.outputs, "logits"));
    this.#keepsLogits = hasTensor(session.inputs, "num_logits_to_keep");
    this.hasDeepstack = hasTensor(session.inputs, "deepstack_embeds");
    this.mostTokens = this.#keepsLogits ? Number.POSITIVE_INFINITY : LONGEST_RUN;
  }

  /** @throws ModelLoadError */
  static async load(
    directory: string,
    graph: ForeignGraph,
    config: Qwen3VlConfig,
    embedding: EmbeddingGraph,
    options: SessionOptions,
  ): Promise<GrowingDecoder> {
    const { hiddenSize, kvHeads, headSize, vocabSize } = config.text;
    const cache = { types: FLOATS, dims: ["any", kvHeads, "any", headSize] } as const;
    const taps = config.vision.deepstackLayers.length;
    const form = {
      inputs: {
        inputs_embeds: { types: FLOATS, dims: ["any", "any", hiddenSize] },
        attention_mask: { types: ["i64"], dims: ["any", "any"] },
        position_ids: { types: ["i64"], dims: [3, "any", "any"] },
        deepstack_embeds: {
          types: FLOATS,
          dims: [taps, "any", "any", hiddenSize],
          optional: true,
        },
        num_logits_to_keep: { types: ["i64"], dims: [], optional: true },
        "past_key_values.*.key": cache,
        "past_key_values.*.value": cache,
      },
      outputs: {
        logits: { types: FLOATS, dims: ["any", "any", vocabSize] },
        "present.*.key": cache,
        "present.*.value": cache,
      },
    } as const;
    const session = await loadForeignGraph(directory, graph, form, options);
    return new GrowingDecoder(session, embedding, config);
  }

  /** Bytes of keys and values that one token takes. */
  get tokenBytes(): number {
    return this.#parts.reduce(
      (sum, { heads, width, type }) => sum + heads * width * elementBytes(type),
      0,
    );
  }

  /**
   * Empty slots for `count` sequences of up to `capacity` tokens. They end with the decoder at the latest.
   *
   * @throws ModelLoadError when there is not so much memory
   */
  createSlots(count: number, capacity: number): GrowingSlots {
    try {
      const slots = new GrowingSlots(this.#session, this.#parts, count, capacity);
      this.#pools.add(slots);
      return slots;
    } catch (cause) {
      if (!(cause instanceof OrtError)) throw cause;
      throw new ModelLoadError(
        "session-failed",
        `There is no memory for ${count} contexts of ${capacity} tokens and one more to write into. ` +
          "Load the model with a smaller maxContextTokens or maxConcurrent.",
        { cause },
      );
    }
  }

  async append(
    input: DecoderInput,
    slot: GrowingSlot,
    { scores = "last", stage = "prefill", signal }: AppendOptions = {},
  ): Promise<readonly Float32Array[]> {
    checkInput(input);
    return atStage(stage, signal, async () => {
      const rows = await this.#run(input, slot, scores === "all" ? input.ids.length : 1, signal);
      return scores === "none" ? [] : rows;
    });
  }

  async decode(
    rows: readonly GrowingRow[],
    { signal }: BackendRunOptions = {},
  ): Promise<readonly Float32Array[]> {
    const scores: Float32Array[] = [];
    try {
      for (const { slot, id, position } of rows) {
        const input = { ids: Int32Array.of(id), positions: new Int32Array(3).fill(position) };
        const [found] = await atStage("decode", signal, () => this.#run(input, slot, 1, signal));
        // The buffer is the next row's as well.
        scores.push(rows.length === 1 ? found! : found!.slice());
      }
      return scores;
    } catch (error) {
      // Whoever was computed before the failure is as before, too.
      for (const { slot } of rows.slice(0, scores.length)) slot.truncate(slot.length - 1);
      throw error;
    }
  }

  /** Waits for runs in progress, then frees everything, slots included. Calling it again is fine. */
  async dispose(): Promise<void> {
    const ended = Promise.all([this.#session.dispose(), this.#embedding.dispose()]);
    for (const slots of this.#pools) slots.dispose();
    await ended;
  }

  /** Appends tokens; scores of the last `wanted` of them. */
  async #run(
    input: DecoderInput,
    slot: GrowingSlot,
    wanted: number,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array[]> {
    const { vocabSize } = this.#config.text;
    const tokens = input.ids.length;
    const rows = this.#keepsLogits ? wanted : tokens;
    const given = await this.#inputs(input, slot.length, wanted, signal);
    const logits = this.#logits.value([1, rows, vocabSize]);
    try {
      await slot.grow(tokens, (past, present) =>
        this.#session.run({ ...given, ...past }, { logits, ...present }, { signal }),
      );
    } finally {
      for (const value of [...Object.values(given), logits]) value.dispose();
    }
    return Array.from({ length: wanted }, (_, row) =>
      this.#logits.read((rows - wanted + row) * vocabSize, vocabSize),
    );
  }

  async #inputs(
    { ids, positions, images = [] }: DecoderInput,
    before: number,
    wanted: number,
    signal: AbortSignal | undefined,
  ): Promise<NamedValues> {
    const { inputs } = this.#session;
    const { hiddenSize } = this.#config.text;
    const taps = this.#config.vision.deepstackLayers.length;
    const tokens = ids.length;
    const embeds = await this.#embedding.read(ids, signal);
    const deepstack = this.hasDeepstack ? new Float32Array(taps * tokens * hiddenSize) : undefined;
    await placeFeatures(images, { tokens, hiddenSize, embeds, deepstack }, signal);
    const typed = (name: string, data: Float32Array, dims: readonly number[]) => ({
      [name]: floatInput(floatType(inputs, name), data, dims),
    });
    return {
      ...typed("inputs_embeds", embeds, [1, tokens, hiddenSize]),
      ...(deepstack ? typed("deepstack_embeds", deepstack, [taps, 1, tokens, hiddenSize]) : {}),
      attention_mask: Value.of(new BigInt64Array(before + tokens).fill(1n), [1, before + tokens]),
      position_ids: Value.of(BigInt64Array.from(positions, BigInt), [3, 1, tokens]),
      ...(this.#keepsLogits
        ? { num_logits_to_keep: Value.of(BigInt64Array.of(BigInt(wanted)), []) }
        : {}),
    };
  }
}

/** Some exports name the sizes of keys and values instead of telling them. */
function withSizes(
  inputs: readonly TensorSpec[],
  { kvHeads, headSize }: Qwen3VlConfig["text"],
): TensorSpec[] {
  return inputs.map((spec) =>
    spec.name.startsWith("past_key_values.")
      ? { ...spec, dims: ["batch", kvHeads, "past", headSize] }
      : spec,
  );
}
