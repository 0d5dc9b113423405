// The decoder on a graphics card: token ids go down, candidates come up, and everything else stays there. It appends
// tokens to one sequence, or one token to each of several. It knows nothing of text, of sampling or of who asks.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { CANDIDATES } from "../convert/candidate-search.ts";
import { DeviceMemory } from "../runtime/device-memory.ts";
import { type NamedValues, Session, type SessionOptions } from "../runtime/session.ts";
import { elementBytes } from "../runtime/value.ts";
import type { CardSteps } from "./card-steps.ts";
import type {
  AppendOptions,
  BackendRunOptions,
  DecoderBackend,
  DecoderInput,
  Scores,
} from "./decoder-backend.ts";
import { DeviceBufferPool } from "./device-buffer-pool.ts";
import { DeviceLogits } from "./device-logits.ts";
import { DevicePictures } from "./device-pictures.ts";
import { DeviceRotary } from "./device-rotary.ts";
import type { DeviceDecoderSizes, DeviceRunBuffers } from "./device-run-buffers.ts";
import { type DeviceSlot, DeviceSlots } from "./device-slots.ts";
import { atStage } from "./inference-error.ts";
import { kvParts } from "./kv-slabs.ts";
import { loadCardSteps } from "./load-card-steps.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import type { CardRow } from "./step-check.ts";

/** Batches have these sizes: a shape of its own for every number of chats would be as many sets of buffers. */
const BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128];

export interface DeviceDecoderOptions extends SessionOptions {
  /** Records decode runs once per batch size and replays them: less work for the CPU. CUDA only. @default false */
  readonly captureGraphs?: boolean;
  /**
   * Steps of few chats by kernels of our own, where a card can have them and they are faster; "always": also where they
   * are not, for measuring. CUDA only.
   *
   * @default true
   */
  readonly stepKernels?: boolean | "always";
  /** Chats that ever take a step together; kernels for more are not made. @default any number */
  readonly mostChats?: number | undefined;
  /** Is told why there are no such kernels. */
  readonly onNote?: ((sentence: string) => void) | undefined;
}

/** A loaded decoder. */
export class DeviceDecoder implements DecoderBackend {
  readonly memory: DeviceMemory;
  readonly #session: Session;
  readonly #text: Qwen3VlConfig["text"];
  readonly #sizes: DeviceDecoderSizes;
  readonly #captureGraphs: boolean;
  readonly #pools = new Set<DeviceSlots>();
  readonly #buffers: DeviceBufferPool;
  readonly #graphIds = new Map<string, number>();
  readonly #pictures: DevicePictures;
  readonly #steps: CardSteps | undefined;
  readonly #note: (sentence: string) => void;
  readonly #logits: DeviceLogits;
  #rotary: DeviceRotary | undefined;

  private constructor(
    session: Session,
    config: Qwen3VlConfig,
    { captureGraphs = false, onNote = () => {} }: DeviceDecoderOptions,
    steps: CardSteps | undefined,
  ) {
    this.#session = session;
    this.#text = config.text;
    this.#captureGraphs = captureGraphs;
    this.#note = onNote;
    this.#steps = steps;
    this.memory = new DeviceMemory(session);
    this.#sizes = {
      ...config.text,
      deepstackTaps: config.vision.deepstackLayers.length,
      candidates: Math.min(CANDIDATES, config.text.vocabSize),
    };
    this.#pictures = new DevicePictures(this.memory, this.#sizes);
    this.#buffers = new DeviceBufferPool(this.memory, this.#sizes);
    this.#logits = new DeviceLogits(this.memory, this.#sizes.vocabSize);
  }

  /** @throws ModelLoadError, DeviceError */
  static async load(
    model: OnnxPackage,
    options: DeviceDecoderOptions = {},
  ): Promise<DeviceDecoder> {
    const file = join(model.directory, model.manifest.decoder.file);
    const steps = await loadCardSteps(model, options);
    const session = await Session.load(file, {
      ...options,
      lentInitializers: steps?.weights,
    }).catch(async (error: unknown) => {
      await steps?.disposeWeights();
      throw error;
    });
    const decoder = new DeviceDecoder(session, model.config, options, steps);
    try {
      const said = await steps?.prepare(decoder.memory, model);
      if (said !== undefined) decoder.#note(said);
      return decoder;
    } catch (error) {
      await decoder.dispose(); // The session before the weights that were lent to it.
      throw error;
    }
  }

  /** Does the graph's session hold the weights? Then nobody has counted their memory. */
  get weightsInSession(): boolean {
    return this.#steps === undefined;
  }

  /** Bytes of keys and values that one token takes. */
  get tokenBytes(): number {
    return kvParts(this.#session.inputs).reduce(
      (sum, { heads, width, type }) => sum + heads * width * elementBytes(type),
      0,
    );
  }

  /**
   * Empty slots for `count` sequences of up to `capacity` tokens. They end with the decoder at the latest.
   *
   * @throws DeviceError `device-memory`
   */
  async createSlots(count: number, capacity: number): Promise<DeviceSlots> {
    const parts = kvParts(this.#session.inputs);
    const slots = await DeviceSlots.create(this.memory, parts, count, capacity);
    this.#pools.add(slots);
    await this.#prepareTables(capacity + 1);
    await this.#checkSteps(slots);
    return slots;
  }

  async append(
    input: DecoderInput,
    slot: DeviceSlot,
    { scores = "last", stage = "prefill", signal }: AppendOptions = {},
  ): Promise<readonly Scores[]> {
    const tokens = input.ids.length;
    if (tokens === 0) throw new RangeError("Expected at least one token");
    const release = slot.occupy(tokens);
    try {
      return await atStage(stage, signal, () => this.#append(input, slot, scores, signal));
    } finally {
      release();
    }
  }

  async decode(
    rows: readonly CardRow[],
    { signal }: BackendRunOptions = {},
  ): Promise<readonly Scores[]> {
    if (rows.length === 0) return [];
    const releases: (() => void)[] = [];
    try {
      for (const { slot } of rows) releases.push(slot.occupy(1));
      return await atStage("decode", signal, () =>
        this.#steps?.takes(rows) ? this.#step(rows, signal) : this.#decode(rows, signal),
      );
    } finally {
      for (const release of releases) release();
    }
  }

  /** Waits for runs in progress, then frees everything, slots included. Calling it again is fine. */
  async dispose(): Promise<void> {
    for (const slots of this.#pools) slots.dispose();
    this.#buffers.dispose();
    this.#logits.dispose();
    await this.#steps?.dispose();
    await this.#session.dispose();
    await this.#steps?.disposeWeights();
  }

  /** Kernels that do not compute what the graph computes, or not sooner, are not used. */
  async #checkSteps(slots: DeviceSlots): Promise<void> {
    const said = await this.#steps?.check(slots, this.#rotary!, {
      byGraph: (rows) => this.#decode(rows),
      read: async (ids, slot) => {
        const positions = Int32Array.from({ length: 3 * ids.length }, (_, i) => i % ids.length);
        await this.#append({ ids, positions }, slot, "none", undefined);
      },
      fetch: (logits, first) => this.#logits.fetch(logits, first),
    });
    if (said !== undefined) this.#note(said);
  }

  async #append(
    input: DecoderInput,
    slot: DeviceSlot,
    scores: "none" | "last" | "all",
    signal: AbortSignal | undefined,
  ): Promise<readonly Scores[]> {
    const { ids, positions, images = [] } = input;
    const tokens = ids.length;
    const rows = scores === "all" ? tokens : 1;
    const buffers = await this.#buffers.of({ batch: 1, tokens, rows });
    const rotary = this.#rotary!.place(positions, buffers.positions);
    for (let token = 0; token < tokens; token++) buffers.ids[token] = BigInt(ids[token]!);
    buffers.mask.fill(0);
    const pictures =
      images.length > 0 ? await this.#pictures.bind(images, buffers.mask, tokens) : undefined;
    buffers.setLengths([slot.length + tokens]);
    const pictureInputs = pictures?.inputs ?? (await this.#pictures.none());
    try {
      await this.#run(buffers, await slot.slots.bind(slot.row, 1), pictureInputs, {
        signal,
        before: [...buffers.up.upload(), ...rotary, ...(pictures?.copies ?? [])],
      });
    } finally {
      for (const value of Object.values(pictures?.inputs ?? {})) value.dispose();
    }
    slot.grow(tokens);
    return scores === "none"
      ? []
      : Array.from({ length: rows }, (_, row) => this.#top(buffers, row));
  }

  async #step(rows: readonly CardRow[], signal?: AbortSignal): Promise<readonly Scores[]> {
    signal?.throwIfAborted();
    const scores = await this.#steps!.step(rows, this.#rotary!, (logits, first) =>
      this.#logits.fetch(logits, first),
    );
    if (typeof scores === "string") {
      this.#note(scores);
      return this.#decode(rows, signal);
    }
    signal?.throwIfAborted();
    for (const { slot } of rows) slot.grow(1);
    return scores;
  }

  async #decode(rows: readonly CardRow[], signal?: AbortSignal): Promise<readonly Scores[]> {
    const [{ slot: first }] = rows as [CardRow];
    const { slots } = first;
    // One alone may lie anywhere; several are in the leading rows, and whoever else is there computes along.
    const alone = rows.length === 1;
    const last = Math.max(...rows.map(({ slot }) => slot.row));
    const batch = alone
      ? 1
      : Math.min(BUCKETS.find((size) => size > last) ?? last + 1, slots.count);
    const from = alone ? first.row : 0;
    const buffers = await this.#buffers.of({ batch, tokens: 1, rows: batch });
    const lengths = slots.lengths.slice(from, from + batch);
    buffers.ids.fill(0n);
    buffers.mask.fill(0); // A prompt may have ended with a single token of a picture, in the very same buffers.
    // What computes along writes behind its last token.
    for (const [row, length] of lengths.entries()) buffers.positions[row] = BigInt(length);
    for (const { slot, id, position } of rows) {
      buffers.ids[slot.row - from] = BigInt(id);
      buffers.positions[slot.row - from] = BigInt(position);
    }
    const after = lengths.map((length) => length + 1);
    // What a recorded run was given on the CPU stays as it was: the bound that holds for all runs.
    buffers.setLengths(after, this.#captureGraphs ? slots.capacity + 1 : Math.max(...after));
    await this.#run(buffers, await slots.bind(from, batch), await this.#pictures.none(), {
      signal,
      before: buffers.up.upload(),
      ...(this.#captureGraphs ? { graphId: this.#graphId(slots, from, batch) } : {}),
    });
    for (const { slot } of rows) slot.grow(1);
    return rows.map(({ slot }) => this.#top(buffers, slot.row - from));
  }

  async #run(
    buffers: DeviceRunBuffers,
    bound: { readonly past: NamedValues; readonly present: NamedValues },
    pictures: NamedValues,
    options: Parameters<Session["run"]>[2],
  ): Promise<void> {
    const { cos, sin } = this.#rotary!;
    await this.#session.run(
      { ...buffers.inputs, ...pictures, rotary_cos: cos, rotary_sin: sin, ...bound.past },
      { ...buffers.outputs, ...bound.present },
      { ...options, after: buffers.down.download() },
    );
  }

  /** A recording belongs to the very memory that it was made with. */
  #graphId(slots: DeviceSlots, from: number, batch: number): number {
    const key = `${[...this.#pools].indexOf(slots)} ${this.#rotary?.rows} ${from} ${batch}`;
    const known = this.#graphIds.get(key) ?? this.#graphIds.size + 1;
    this.#graphIds.set(key, known);
    return known;
  }

  #top(buffers: DeviceRunBuffers, row: number): Scores {
    const { candidates, vocabSize } = this.#sizes;
    const [from, to] = [row * candidates, (row + 1) * candidates];
    return {
      ids: Array.from(buffers.topIds.subarray(from, to), Number),
      scores: buffers.topScores.slice(from, to),
      full: () => this.#logits.fetch(buffers.logits, row * vocabSize),
    };
  }

  /** Tables with a row for every position of text. */
  async #prepareTables(rows: number): Promise<void> {
    if (this.#rotary && this.#rotary.rows >= rows) return;
    const larger = await DeviceRotary.create(this.memory, this.#text, rows);
    this.#rotary?.dispose();
    this.#rotary = larger;
  }
}
