// A decoder and eyes that compute nothing and write down what they are asked, for tests of the loop alone.
// A slot "holds" the ids that were appended, so that caches can copy something that can be checked.

import type {
  AppendOptions,
  BackendRunOptions,
  DecodeRow,
  DecoderBackend,
  DecoderInput,
  JoinedRuns,
  KvBlock,
  KvSlot,
  Scores,
  SlotPool,
} from "../../src/vlm/engine/decoder-backend.ts";
import type { VisionFeatures } from "../../src/vlm/engine/vision-encoder.ts";
import type { ImageTensor } from "../../src/vlm/image/image-tensor.ts";

interface IdBlock extends KvBlock {
  readonly ids: readonly number[];
}

class FakeSlot implements KvSlot {
  readonly capacity: number;
  ids: number[] = [];
  parked?: boolean;
  disposed = false;
  readonly #onDispose: () => void;
  readonly #onCopy: () => void;

  constructor(capacity: number, parks: boolean, onDispose: () => void, onCopy: () => void) {
    this.capacity = capacity;
    if (parks) this.parked = false;
    this.#onDispose = onDispose;
    this.#onCopy = onCopy;
  }

  get length(): number {
    return this.ids.length;
  }

  truncate(length: number): void {
    this.ids.length = length;
  }

  async read(start: number, end: number): Promise<IdBlock> {
    return { tokens: end - start, byteLength: end - start, ids: this.ids.slice(start, end) };
  }

  async append(block: IdBlock, tokens: number): Promise<void> {
    this.#onCopy();
    this.ids.push(...block.ids.slice(0, tokens));
  }

  dispose(): void {
    if (!this.disposed) this.#onDispose();
    this.disposed = true;
  }
}

/** What a run was asked to do. */
export type FakeRun =
  | { readonly type: "append"; readonly ids: readonly number[] }
  | { readonly type: "decode"; readonly ids: readonly number[] }
  /** Tokens of a prompt, and of those who write beside it. */
  | {
      readonly type: "together";
      readonly ids: readonly number[];
      readonly beside: readonly number[];
    };

/** Runs end at once, or when they are let go. */
export class FakeDecoder implements DecoderBackend, SlotPool {
  readonly count: number;
  readonly capacity: number;
  readonly runs: FakeRun[] = [];
  /** Blocks that were copied into slots. */
  copied = 0;
  #open = 0;
  /** Called before a run ends; what it throws is what the run throws. */
  onRun: (run: FakeRun, options: BackendRunOptions) => Promise<void> | void = () => {};

  readonly together: JoinedRuns["together"] | undefined;
  readonly #parks: boolean;

  /** @param parks may slots lie idle? @param joins are prompts and answers computed in one run? */
  constructor({ count = 4, capacity = 4096, parks = false, joins = false } = {}) {
    this.count = count;
    this.capacity = capacity;
    this.#parks = parks;
    if (joins) this.together = this.#together.bind(this);
  }

  /** Slots that are taken. */
  get taken(): number {
    return this.#open;
  }

  open(): KvSlot {
    if (this.#open === this.count) throw new RangeError(`All ${this.count} slots are taken`);
    this.#open++;
    const [onDispose, onCopy] = [() => this.#open--, () => this.copied++];
    return new FakeSlot(this.capacity, this.#parks, onDispose, onCopy);
  }

  async append(input: DecoderInput, slot: FakeSlot, options: AppendOptions = {}) {
    const ids = [...input.ids];
    const run = { type: "append", ids } as const;
    await this.#run(run, options);
    slot.ids.push(...ids);
    if (options.scores === "none") return [];
    const before = slot.ids.length - ids.length;
    const wanted = options.scores === "all" ? ids.keys() : [ids.length - 1];
    return [...wanted].map((index) => this.scoresAfter(slot.ids.slice(0, before + index + 1)));
  }

  async decode(rows: readonly DecodeRow[], options: BackendRunOptions = {}): Promise<Scores[]> {
    const ids = rows.map(({ id }) => id);
    const run = { type: "decode", ids } as const;
    await this.#run(run, options);
    return rows.map(({ slot, id }) => {
      const { ids: held } = slot as FakeSlot;
      held.push(id);
      return this.scoresAfter(held);
    });
  }

  async #together(
    input: DecoderInput,
    slot: FakeSlot,
    rows: readonly DecodeRow[],
    options: BackendRunOptions = {},
  ): Promise<Scores[]> {
    const [ids, beside] = [[...input.ids], rows.map(({ id }) => id)];
    await this.#run({ type: "together", ids, beside }, options);
    slot.ids.push(...ids);
    for (const row of rows) (row.slot as FakeSlot).ids.push(row.id);
    return [this.scoresAfter(slot.ids), ...rows.map(({ id }) => this.scoresAfter([id]))];
  }

  /** The last token can be seen in the scores. */
  scoresAfter(ids: readonly number[]): Scores {
    return Float32Array.of(ids.at(-1) ?? -1);
  }

  async #run(run: FakeRun, options: BackendRunOptions): Promise<void> {
    this.runs.push(run);
    // A real one runs on another thread: the event loop has its turn.
    await new Promise((resolve) => setImmediate(resolve));
    await this.onRun(run, options);
  }
}

/** Eyes that end when they are let go. */
export class FakeEyes {
  /** Keys, in the order in which they were begun. */
  readonly begun: string[] = [];
  readonly stopped: string[] = [];
  /** Called before a picture is done. */
  onPicture: (key: string) => Promise<void> | void = () => {};

  async encode(
    { key, imageTokens }: ImageTensor,
    { signal }: BackendRunOptions,
  ): Promise<VisionFeatures> {
    this.begun.push(key);
    await Promise.race([
      this.onPicture(key),
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
    ]).catch((error: unknown) => {
      if (signal?.aborted) this.stopped.push(key);
      throw error;
    });
    return {
      tokens: imageTokens,
      imageFeatures: new Float32Array(imageTokens),
      deepstack: new Float32Array(imageTokens),
      byteLength: 8 * imageTokens,
    };
  }
}

export function fakePicture(key: string, rows = 2, columns = 2): ImageTensor {
  return {
    pixelValues: new Float32Array(0),
    gridHeight: 2 * rows,
    gridWidth: 2 * columns,
    imageTokens: rows * columns,
    resizedWidth: 32 * columns,
    resizedHeight: 32 * rows,
    sourceWidth: 32 * columns,
    sourceHeight: 32 * rows,
    key,
    byteLength: 0,
  };
}

/** A promise, and what lets it go. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
