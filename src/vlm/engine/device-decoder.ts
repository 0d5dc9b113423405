// The decoder on a graphics card: token ids go down, candidates come up, and everything else stays there. It appends
// tokens to one sequence, or one token to each of several. It knows nothing of text, of sampling or of who asks.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { fromFloat32 } from "../checkpoint/dtype.ts";
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
  PlacedFeatures,
  Scores,
} from "./decoder-backend.ts";
import { type DeviceDecoderSizes, DeviceRunBuffers } from "./device-run-buffers.ts";
import { type DeviceSlot, DeviceSlots } from "./device-slots.ts";
import { atStage } from "./inference-error.ts";
import { kvParts } from "./kv-slots.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { mropeCosSin } from "./rotary.ts";

/** Batches have these sizes: a shape of its own for every number of chats would be as many sets of buffers. */
const BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128];

interface DeviceRow extends DecodeRow {
  readonly slot: DeviceSlot;
}

/** Rows of pictures in a run: memory for as many tokens as the largest run had. */
interface PictureRows {
  readonly tokens: number;
  /** (tokens, H) */
  readonly embeds: Value;
  /** (taps, tokens, H) */
  readonly deepstack: Value;
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
  /** What runs without pictures are given: zeros. */
  #nothing: NamedValues | undefined;
  #pictures: PictureRows | undefined;
  #tables: { readonly rows: number; readonly cos: Value; readonly sin: Value } | undefined;
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
    const rotary = this.#fillPositions(positions, buffers);
    for (let token = 0; token < tokens; token++) buffers.ids[token] = BigInt(ids[token]!);
    buffers.mask.fill(0);
    const pictures = images.length > 0 ? await this.#pictureRows(tokens) : undefined;
    const copies = pictures
      ? [
          ...this.memory.clear(pictures.deepstack),
          ...images.flatMap((image) => this.#placePicture(image, buffers, pictures, tokens)),
        ]
      : [];
    buffers.setLengths([slot.length + tokens]);
    const pictureInputs = pictures
      ? this.#bindPictures(pictures, tokens)
      : await this.#nothingOfPictures();
    try {
      await this.#run(buffers, await slot.slots.bind(slot.row, 1), pictureInputs, {
        signal,
        before: [...buffers.up.upload(), ...rotary, ...copies],
      });
    } finally {
      if (pictures) for (const value of Object.values(pictureInputs)) value.dispose();
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
    await this.#run(buffers, await slots.bind(from, batch), await this.#nothingOfPictures(), {
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
    const { cos, sin } = this.#tables!;
    await this.#session.run(
      { ...buffers.inputs, ...pictures, rotary_cos: cos, rotary_sin: sin, ...bound.past },
      { ...buffers.outputs, ...bound.present },
      { ...options, after: buffers.down.download() },
    );
  }

  /** A recording belongs to the very memory that it was made with. */
  #graphId(slots: DeviceSlots, from: number, batch: number): number {
    const key = `${[...this.#pools].indexOf(slots)} ${this.#tables?.rows} ${from} ${batch}`;
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

  /** Rows of the rotary tables for a prompt: tokens of text have theirs already, those of pictures get new ones. */
  #fillPositions(positions: Int32Array, buffers: DeviceRunBuffers) {
    const tokens = positions.length / 3;
    const { rows, cos, sin } = this.#tables!;
    const own: number[] = [];
    for (let token = 0; token < tokens; token++) {
      const [t, h, w] = [0, 1, 2].map((axis) => positions[axis * tokens + token]!);
      if (t === h && t === w) {
        buffers.positions[token] = BigInt(t!);
      } else {
        buffers.positions[token] = BigInt(rows + own.length);
        own.push(token);
      }
    }
    if (own.length === 0) return [];
    const mixed = new Int32Array(3 * own.length);
    for (let axis = 0; axis < 3; axis++) {
      for (const [index, token] of own.entries()) {
        mixed[axis * own.length + index] = positions[axis * tokens + token]!;
      }
    }
    return this.#uploadRotary(mixed, cos, sin, rows);
  }

  #uploadRotary(positions: Int32Array, cos: Value, sin: Value, row: number) {
    const angles = mropeCosSin(positions, this.#text);
    const half = this.#text.headSize / 2;
    return (
      [
        [cos, angles.cos],
        [sin, angles.sin],
      ] as const
    ).flatMap(([table, values]) => {
      const bits = new Uint16Array(values.length);
      fromFloat32(values, "f16", bits);
      return this.memory.upload(table, bits, 2 * row * half);
    });
  }

  /** Tables with a row for every position of text, and behind them as many for the tokens of a run. */
  async #prepareTables(rows: number): Promise<void> {
    if (this.#tables && this.#tables.rows >= rows) return;
    const half = this.#text.headSize / 2;
    const dims = [2 * rows, half];
    const cos = await this.memory.allocate("f16", dims, "rotary tables");
    const sin = await this.memory.allocate("f16", dims, "rotary tables");
    const positions = Int32Array.from({ length: 3 * rows }, (_, index) => index % rows);
    await this.memory.finish(this.#uploadRotary(positions, cos, sin, 0));
    this.#tables?.cos.dispose();
    this.#tables?.sin.dispose();
    this.#tables = { rows, cos, sin };
  }

  async #pictureRows(tokens: number): Promise<PictureRows> {
    if (this.#pictures && this.#pictures.tokens >= tokens) return this.#pictures;
    const { hiddenSize, deepstackTaps } = this.#sizes;
    this.#pictures?.embeds.dispose();
    this.#pictures?.deepstack.dispose();
    const embeds = await this.memory.allocate("f16", [tokens, hiddenSize], "pictures");
    const dims = [deepstackTaps, tokens, hiddenSize];
    const deepstack = await this.memory.allocate("f16", dims, "pictures");
    this.#pictures = { tokens, embeds, deepstack };
    return this.#pictures;
  }

  #bindPictures({ embeds, deepstack }: PictureRows, tokens: number): NamedValues {
    const { hiddenSize, deepstackTaps } = this.#sizes;
    return {
      image_embeds: embeds.slice(0, [1, tokens, hiddenSize]),
      deepstack_embeds: deepstack.slice(0, [deepstackTaps, 1, tokens, hiddenSize]),
    };
  }

  async #nothingOfPictures(): Promise<NamedValues> {
    if (this.#nothing) return this.#nothing;
    const { hiddenSize, deepstackTaps } = this.#sizes;
    const image = await this.memory.allocate("f16", [1, 1, hiddenSize], "pictures");
    const dims = [deepstackTaps, 1, 1, hiddenSize];
    const deepstack = await this.memory.allocate("f16", dims, "pictures");
    await this.memory.finish([...this.memory.clear(image), ...this.memory.clear(deepstack)]);
    this.#nothing = { image_embeds: image, deepstack_embeds: deepstack };
    return this.#nothing;
  }

  /** Marks the tokens of a picture, and copies its features and DeepStack rows to their places. */
  #placePicture(
    { start, features }: PlacedFeatures,
    buffers: DeviceRunBuffers,
    rows: PictureRows,
    tokens: number,
  ) {
    const { onDevice } = features;
    if (!onDevice) throw new TypeError("The features of a picture are not on the device");
    const { hiddenSize, deepstackTaps } = this.#sizes;
    const to = Math.max(start, 0); // first token of the run
    const from = to - start; // first row of the features
    const count = Math.min(features.tokens - from, tokens - to);
    buffers.mask.fill(1, to, to + count);
    const rowBytes = 2 * hiddenSize;
    const copy = (target: Value, targetRow: number, source: Value, sourceRow: number) =>
      this.memory.copy(
        target,
        targetRow * rowBytes,
        source,
        sourceRow * rowBytes,
        count * rowBytes,
      );
    return [
      ...copy(rows.embeds, to, onDevice.imageFeatures, from),
      ...Array.from({ length: deepstackTaps }, (_, tap) =>
        copy(rows.deepstack, tap * tokens + to, onDevice.deepstack, tap * features.tokens + from),
      ).flat(),
    ];
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
