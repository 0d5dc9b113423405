// The decoder on a graphics card: token ids go down, candidates come up, and everything else stays there. It appends
// tokens to one sequence, or one token to each of several. It knows nothing of text, of sampling or of who asks.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { CANDIDATES } from "../convert/device-decoder-graph.ts";
import { DeviceMemory, type Staging } from "../runtime/device-memory.ts";
import { type NamedValues, Session, type SessionOptions } from "../runtime/session.ts";
import { elementBytes, type Value } from "../runtime/value.ts";
import type {
  AppendOptions,
  BackendRunOptions,
  DecodeRow,
  DecoderBackend,
  DecoderInput,
  Scores,
} from "./decoder-backend.ts";
import { DevicePictures } from "./device-pictures.ts";
import { DeviceRotary } from "./device-rotary.ts";
import { type DeviceDecoderSizes, DeviceRunBuffers } from "./device-run-buffers.ts";
import { type DeviceSlot, DeviceSlots } from "./device-slots.ts";
import { atStage } from "./inference-error.ts";
import { kvParts } from "./kv-slots.ts";
import type { OnnxPackage } from "./onnx-package.ts";

/** Batches have these sizes: a shape of its own for every number of chats would be as many sets of buffers. */
const BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128];

interface DeviceRow extends DecodeRow {
  readonly slot: DeviceSlot;
}

export interface DeviceDecoderOptions extends SessionOptions {
  /** Records decode runs once per batch size and replays them: less work for the CPU. CUDA only. @default false */
  readonly captureGraphs?: boolean;
}

/** A loaded decoder. */
export class DeviceDecoder implements DecoderBackend {
  readonly memory: DeviceMemory;
  readonly #session: Session;
  readonly #text: Qwen3VlConfig["text"];
  readonly #sizes: DeviceDecoderSizes;
  readonly #captureGraphs: boolean;
  readonly #pools = new Set<DeviceSlots>();
  readonly #buffers = new Map<string, DeviceRunBuffers>();
  readonly #graphIds = new Map<string, number>();
  readonly #pictures: DevicePictures;
  #rotary: DeviceRotary | undefined;
  #logits: Value | undefined;
  #fetched: Staging | undefined;
  #fetching: Promise<unknown> = Promise.resolve();

  private constructor(session: Session, config: Qwen3VlConfig, captureGraphs: boolean) {
    this.#session = session;
    this.#text = config.text;
    this.#captureGraphs = captureGraphs;
    this.memory = new DeviceMemory(session);
    this.#sizes = {
      ...config.text,
      deepstackTaps: config.vision.deepstackLayers.length,
      candidates: Math.min(CANDIDATES, config.text.vocabSize),
    };
    this.#pictures = new DevicePictures(this.memory, this.#sizes);
  }

  /** @throws ModelLoadError, DeviceError */
  static async load(
    model: OnnxPackage,
    options: DeviceDecoderOptions = {},
  ): Promise<DeviceDecoder> {
    const file = join(model.directory, model.manifest.decoder.file);
    const session = await Session.load(file, options);
    return new DeviceDecoder(session, model.config, options.captureGraphs ?? false);
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
    rows: readonly DeviceRow[],
    { signal }: BackendRunOptions = {},
  ): Promise<readonly Scores[]> {
    if (rows.length === 0) return [];
    const releases: (() => void)[] = [];
    try {
      for (const { slot } of rows) releases.push(slot.occupy(1));
      return await atStage("decode", signal, () => this.#decode(rows, signal));
    } finally {
      for (const release of releases) release();
    }
  }

  /** Waits for runs in progress, then frees everything, slots included. Calling it again is fine. */
  async dispose(): Promise<void> {
    for (const slots of this.#pools) slots.dispose();
    for (const buffers of this.#buffers.values()) buffers.dispose();
    this.#buffers.clear();
    this.#fetched?.dispose();
    await this.#session.dispose();
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
    const buffers = await this.#buffersOf(1, tokens, rows);
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

  async #decode(rows: readonly DeviceRow[], signal?: AbortSignal): Promise<readonly Scores[]> {
    const [{ slot: first }] = rows as [DeviceRow];
    const { slots } = first;
    // One alone may lie anywhere; several are in the leading rows, and whoever else is there computes along.
    const alone = rows.length === 1;
    const last = Math.max(...rows.map(({ slot }) => slot.row));
    const batch = alone
      ? 1
      : Math.min(BUCKETS.find((size) => size > last) ?? last + 1, slots.count);
    const from = alone ? first.row : 0;
    const buffers = await this.#buffersOf(batch, 1, batch);
    const lengths = slots.lengths.slice(from, from + batch);
    buffers.ids.fill(0n);
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
      full: () => this.#fetch(buffers.logits, row * vocabSize),
    };
  }

  /** One row of logits, from element `first` on. One after the other: they share memory. */
  #fetch(logits: Value, first: number): Promise<Float32Array> {
    const row = this.#fetching.then(() => this.#fetchRow(logits, first));
    this.#fetching = row.catch(() => {});
    return row;
  }

  async #fetchRow(logits: Value, first: number): Promise<Float32Array> {
    const { vocabSize } = this.#sizes;
    this.#fetched ??= await this.memory.stage(4 * vocabSize, "logits");
    const { array, value } = this.#fetched.retake("f32", [vocabSize]);
    const copies = this.memory.copy(value, 0, logits, 4 * first, 4 * vocabSize);
    await this.memory.finish([...copies, ...this.#fetched.download()]);
    value.dispose();
    return array.slice();
  }

  /** Tables with a row for every position of text. */
  async #prepareTables(rows: number): Promise<void> {
    if (this.#rotary && this.#rotary.rows >= rows) return;
    const larger = await DeviceRotary.create(this.memory, this.#text, rows);
    this.#rotary?.dispose();
    this.#rotary = larger;
  }

  async #buffersOf(batch: number, tokens: number, rows: number): Promise<DeviceRunBuffers> {
    const key = `${batch} ${tokens} ${rows}`;
    const known = this.#buffers.get(key);
    if (known) {
      // Those used last are the last to go.
      this.#buffers.delete(key);
      this.#buffers.set(key, known);
      return known;
    }
    const logits = await this.#logitsFor(rows);
    const shape = { batch, tokens, rows };
    const made = await DeviceRunBuffers.create(this.memory, this.#sizes, shape, logits);
    this.#buffers.set(key, made);
    this.#forgetShapes();
    return made;
  }

  /** Prompts have any length: their shapes must not pile up. Those of decode steps are few and stay. */
  #forgetShapes(): void {
    const prompts = [...this.#buffers.keys()].filter((key) => key.split(" ")[1] !== "1");
    for (const key of prompts.slice(0, -MOST_PROMPT_SHAPES)) {
      this.#buffers.get(key)?.dispose();
      this.#buffers.delete(key);
    }
  }

  async #logitsFor(rows: number): Promise<Value> {
    const { vocabSize } = this.#sizes;
    if (this.#logits && this.#logits.dims[0]! >= rows) return this.#logits;
    const old = this.#logits;
    this.#logits = await this.memory.allocate("f32", [rows, vocabSize], "logits");
    // Buffers of other shapes keep the old memory alive as long as they last.
    old?.dispose();
    return this.#logits;
  }
}

const MOST_PROMPT_SHAPES = 8;
