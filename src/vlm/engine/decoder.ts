// The language half: token ids, positions and features of pictures in, logits out, keys and values into slots.
// It appends tokens to one sequence, or one token to each of several. It knows nothing of text, of sampling or of who asks.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { type CacheFormat, FEW_TOKENS } from "../convert/cached-attention.ts";
import { DisposedError, ModelLoadError } from "../errors.ts";
import { OrtError } from "../runtime/ort-error.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { elementBytes } from "../runtime/value.ts";
import { withCpuSettings } from "./cpu-settings.ts";
import type {
  AppendOptions,
  BackendRunOptions,
  DecodeRow,
  DecoderBackend,
  DecoderInput,
  JoinedRuns,
} from "./decoder-backend.ts";
import { checkInput } from "./decoder-input.ts";
import { EmbeddingTable } from "./embedding-table.ts";
import { atStage } from "./inference-error.ts";
import { joinedRows, joinedTokens } from "./joined-input.ts";
import { kvParts } from "./kv-slabs.ts";
import { KvSlots } from "./kv-slots.ts";
import type { BoundBeside, BoundRows, LanePool, LaneSlot } from "./lane-slots.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { placeFeatures } from "./place-features.ts";
import { mropeCosSin } from "./rotary.ts";
import { type DecoderSizes, RunBuffers } from "./run-buffers.ts";
import { WebGpuKvCopies } from "./webgpu-kv-copies.ts";
import { WebGpuSlots } from "./webgpu-slots.ts";

/** A row of a decode run on slots of this decoder. */
interface LaneRow extends DecodeRow {
  readonly slot: LaneSlot;
}

interface PoolRun {
  readonly slots: LanePool;
  /** Does it cut off values that are too large for their int8 scale? */
  readonly cutOff: boolean;
  readonly signal: AbortSignal | undefined;
}

/** A loaded decoder. */
export class Decoder implements DecoderBackend {
  readonly #session: Session;
  readonly #table: EmbeddingTable;
  readonly #text: Qwen3VlConfig["text"];
  readonly #sizes: DecoderSizes;
  readonly #slots = new Set<LanePool>();
  /** Buffers of decode steps, by how many sequences they have; those of a step in progress are not here. */
  readonly #stepBuffers = new Map<number, RunBuffers>();
  /** (R, vocab) by R, for the next run of a chunk: new ones each time would keep the garbage collector busy. */
  readonly #spareLogits = new Map<number, Float32Array>();
  readonly together: JoinedRuns["together"] | undefined;
  #disposed = false;

  private constructor(session: Session, table: EmbeddingTable, config: Qwen3VlConfig) {
    this.#session = session;
    this.#table = table;
    this.#text = config.text;
    this.#sizes = { ...config.text, deepstackTaps: config.vision.deepstackLayers.length };
    const joins = session.optionalInputs.some(({ name }) => name === "joined");
    if (joins) this.together = this.#together.bind(this);
  }

  /**
   * @param cache format of keys and values
   * @throws ModelLoadError
   */
  static async load(
    model: OnnxPackage,
    options: SessionOptions = {},
    cache: CacheFormat = "fp32",
  ): Promise<Decoder> {
    const { directory, manifest, config } = model;
    const { embedTokens } = manifest;
    const table = await EmbeddingTable.open(join(directory, embedTokens.file), embedTokens);
    try {
      const file = join(directory, decoderFile(model, cache));
      const session = await Session.load(
        file,
        await withCpuSettings(options, manifest.int8Weights),
      );
      return new Decoder(session, table, config);
    } catch (error) {
      await table.close();
      throw error;
    }
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
   * @throws ModelLoadError when there is not so much memory
   */
  createSlots(count: number, capacity: number): KvSlots {
    try {
      const slots = new KvSlots(this.#session, kvParts(this.#session.inputs), count, capacity);
      this.#slots.add(slots);
      return slots;
    } catch (cause) {
      if (!(cause instanceof OrtError)) throw cause;
      throw new ModelLoadError(
        "session-failed",
        `There is no memory for ${count} contexts of ${capacity} tokens. ` +
          "Load the model with a smaller maxContextTokens or maxConcurrent.",
        { cause },
      );
    }
  }

  /** The same on WebGPU. @throws DeviceError `device-memory` */
  async createSlotsOnWebGpu(count: number, capacity: number): Promise<WebGpuSlots> {
    const copies = await WebGpuKvCopies.load(kvParts(this.#session.inputs), this.#session.device);
    try {
      const slots = await WebGpuSlots.create(copies, count, capacity);
      this.#slots.add(slots);
      return slots;
    } catch (error) {
      await copies.dispose();
      throw error;
    }
  }

  async append(
    input: DecoderInput,
    cache: LaneSlot,
    { scores = "last", stage = "prefill", signal }: AppendOptions = {},
  ): Promise<readonly Float32Array[]> {
    checkInput(input);
    expectRoom(cache, input.ids.length);
    const release = cache.occupy();
    try {
      return await atStage(stage, signal, () => this.#append(input, cache, scores, signal));
    } finally {
      release();
    }
  }

  async decode(
    rows: readonly LaneRow[],
    { signal }: BackendRunOptions = {},
  ): Promise<readonly Float32Array[]> {
    for (const { slot } of rows) expectRoom(slot, 1);
    const releases: (() => void)[] = [];
    try {
      for (const { slot } of rows) releases.push(slot.occupy());
      return await atStage("decode", signal, () => this.#decode(rows, signal));
    } finally {
      for (const release of releases) release();
    }
  }

  /** Waits for runs in progress, then frees everything, slots included. Calling it again is fine. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    const ended = this.#session.dispose();
    const slots = [...this.#slots].map((one) => one.dispose());
    for (const buffers of this.#stepBuffers.values()) buffers.dispose();
    this.#stepBuffers.clear();
    await Promise.all([ended, this.#table.close(), ...slots]);
  }

  async #together(
    input: DecoderInput,
    cache: LaneSlot,
    rows: readonly LaneRow[],
    { signal }: BackendRunOptions = {},
  ): Promise<readonly Float32Array[]> {
    checkInput(input);
    expectRoom(cache, input.ids.length);
    for (const { slot } of rows) expectRoom(slot, 1);
    // Attention over the prompt's own cache appends what belongs to others behind it.
    const room = cache.capacity - cache.length - input.ids.length;
    if (rows.length > room || cache.slots.bindBeside === undefined) {
      const [last] = await this.append(input, cache, { signal });
      const kept = last!.slice(); // the next run may write there
      return [kept, ...(await this.decode(rows, { signal }))];
    }
    const releases: (() => void)[] = [];
    try {
      for (const { slot } of rows) releases.push(slot.occupy());
      signal?.throwIfAborted();
      const bound = await cache.slots.bindBeside(
        cache,
        rows.map(({ slot }) => slot),
      );
      releases.push(cache.occupy());
      return await atStage("decode", signal, () =>
        this.#joinedRun(input, cache, rows, bound, signal),
      );
    } finally {
      for (const release of releases) release();
    }
  }

  async #joinedRun(
    input: DecoderInput,
    cache: LaneSlot,
    rows: readonly LaneRow[],
    { one, others }: BoundBeside,
    signal: AbortSignal | undefined,
  ): Promise<readonly Float32Array[]> {
    const { ids, images = [] } = input;
    const joined = others.lengths.length;
    const whole = { ...joinedTokens(input, rows, others), images };
    const logits = this.#takeLogits(1 + joined);
    using buffers = new RunBuffers(this.#sizes, {
      tokens: whole.ids.length,
      joined,
      deepstack: images.length > 0,
      rows: 1 + joined,
      logits,
    });
    buffers.setJoinedLengths(others.lengths.map((length) => length + 1));
    try {
      buffers.setLengths([cache.length + whole.ids.length]);
      const bound = [one, joinedRows(others)];
      await this.#runChunk(whole, buffers, bound, { slots: cache.slots, cutOff: true, signal });
    } finally {
      this.#spareLogits.set(1 + joined, logits);
    }
    cache.grow(ids.length);
    for (const { slot } of rows) slot.grow(1);
    return [buffers.scores(0), ...others.lanes.map((lane) => buffers.scores(1 + lane))];
  }

  async #append(
    input: DecoderInput,
    cache: LaneSlot,
    scores: "none" | "last" | "all",
    signal: AbortSignal | undefined,
  ): Promise<readonly Float32Array[]> {
    const { ids, images = [] } = input;
    const tokens = ids.length;
    // Int8 products fail on no rows at all: at least one is computed.
    const rows = scores === "all" ? tokens : 1;
    const logits = this.#takeLogits(rows);
    using buffers = new RunBuffers(this.#sizes, {
      tokens,
      deepstack: images.length > 0,
      rows,
      logits,
    });
    try {
      buffers.setLengths([cache.length + tokens]);
      const bound = [await cache.slots.bindOne(cache)];
      const cutOff = tokens <= FEW_TOKENS;
      await this.#runChunk(input, buffers, bound, { slots: cache.slots, cutOff, signal });
    } finally {
      if (scores !== "all") this.#spareLogits.set(rows, logits);
    }
    cache.grow(tokens);
    return scores === "none" ? [] : Array.from({ length: rows }, (_, row) => buffers.scores(row));
  }

  async #runChunk(
    input: DecoderInput,
    buffers: RunBuffers,
    bound: readonly BoundRows[],
    run: PoolRun,
  ): Promise<void> {
    await this.#fillText(input, buffers);
    await placeFeatures(input.images ?? [], buffers.tokenRows, run.signal);
    await this.#run(buffers, bound, run);
  }

  #takeLogits(rows: number): Float32Array {
    const kept = this.#spareLogits.get(rows);
    this.#spareLogits.delete(rows);
    return kept ?? new Float32Array(rows * this.#sizes.vocabSize);
  }

  async #decode(rows: readonly LaneRow[], signal?: AbortSignal): Promise<readonly Float32Array[]> {
    const [first] = rows;
    if (!first) return [];
    signal?.throwIfAborted();
    const bound = await first.slot.slots.bindLanes(rows.map(({ slot }) => slot));
    const { lanes, lengths } = bound;
    const batch = lengths.length;
    const buffers = this.#takeStepBuffers(batch);
    try {
      const ids = new Int32Array(batch);
      const places = Int32Array.from(lengths);
      for (const [index, { id, position }] of rows.entries()) {
        ids[lanes[index]!] = id;
        places[lanes[index]!] = position;
      }
      const positions = Int32Array.from({ length: 3 * batch }, (_, i) => places[i % batch]!);
      await this.#fillText({ ids, positions }, buffers);
      buffers.setLengths(lengths.map((length) => length + 1));
      await this.#run(buffers, [bound], { slots: first.slot.slots, cutOff: true, signal });
      for (const { slot } of rows) slot.grow(1);
      return lanes.map((lane) => buffers.scores(lane));
    } finally {
      this.#keepStepBuffers(batch, buffers);
    }
  }

  /** One run; two where values have grown out of their int8 scale and were cut off. */
  async #run(
    { inputs, outputs }: RunBuffers,
    bound: readonly BoundRows[],
    { slots, cutOff, signal }: PoolRun,
  ): Promise<void> {
    const { scales } = slots;
    const past = bound.map((rows) => rows.past);
    const present = bound.map((rows) => rows.present);
    do {
      await this.#session.run(
        Object.assign({}, inputs, ...past, scales?.inputs),
        Object.assign({}, outputs, ...present, scales?.outputs),
        { signal },
      );
    } while (await slots.settle?.(cutOff));
  }

  #takeStepBuffers(batch: number): RunBuffers {
    const kept = this.#stepBuffers.get(batch);
    this.#stepBuffers.delete(batch);
    return kept ?? new RunBuffers(this.#sizes, { batch, tokens: 1, deepstack: false, rows: batch });
  }

  #keepStepBuffers(batch: number, buffers: RunBuffers): void {
    if (this.#disposed || this.#stepBuffers.has(batch)) buffers.dispose();
    else this.#stepBuffers.set(batch, buffers);
  }

  async #fillText({ ids, positions }: DecoderInput, buffers: RunBuffers): Promise<void> {
    await this.#table.read(ids, buffers.embeds);
    const { cos, sin } = mropeCosSin(positions, this.#text);
    buffers.cos.set(cos);
    buffers.sin.set(sin);
  }
}

function decoderFile({ directory, manifest }: OnnxPackage, cache: CacheFormat): string {
  const entry = cache === "fp32" ? manifest.decoder : manifest.cacheDecoders[cache];
  if (entry !== undefined) return entry.file;
  throw new ModelLoadError(
    "model-unsupported",
    `${directory} has no decoder with keys and values in ${cache}. Convert the checkpoint again, or leave kvPrecision out.`,
    { modelDir: directory },
  );
}

function expectRoom(cache: LaneSlot, tokens: number): void {
  if (cache.disposed) throw new DisposedError("The KV cache");
  if (cache.length + tokens <= cache.capacity) return;
  throw new RangeError(
    `The KV cache holds ${cache.length} of ${cache.capacity} tokens: ${tokens} more do not fit`,
  );
}
