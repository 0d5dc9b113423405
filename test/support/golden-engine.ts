// The engine on a golden checkpoint, without text: prompts are lists of token ids and pictures, and what is "said" after
// them is decided beforehand, so that only the scores can differ.

import type { ConvertOptions } from "../../src/vlm/convert/convert-options.ts";
import { Decoder } from "../../src/vlm/engine/decoder.ts";
import type { Scores, SlotPool } from "../../src/vlm/engine/decoder-backend.ts";
import { Engine } from "../../src/vlm/engine/engine.ts";
import { FeatureCache } from "../../src/vlm/engine/feature-cache.ts";
import type { KvSlots } from "../../src/vlm/engine/kv-slots.ts";
import { PrefixCache } from "../../src/vlm/engine/prefix-cache.ts";
import { type PlacedPicture, Sequence, type TokenReader } from "../../src/vlm/engine/sequence.ts";
import { Stopwatch } from "../../src/vlm/engine/stopwatch.ts";
import { VisionEncoder } from "../../src/vlm/engine/vision-encoder.ts";
import type { ImageTensor } from "../../src/vlm/image/image-tensor.ts";
import { type GoldenCase, type GoldenName, goldenCases } from "./golden-checkpoint.ts";
import { goldenPackage } from "./golden-package.ts";

export const IMAGE_TOKEN = 250;
const PATCH_VALUES = 1536;

/** A prompt: ids, and a tensor for each picture in the place of its tokens. */
export type PromptPart = readonly number[] | ImageTensor;

export interface Prompt {
  readonly ids: Int32Array;
  readonly pictures: readonly PlacedPicture[];
}

export type GoldenFormats = Pick<ConvertOptions, "precision"> &
  Partial<Pick<ConvertOptions, "visionPrecision" | "device">>;
const FP32: GoldenFormats = { precision: "fp32" };

/** Both halves of a golden checkpoint. */
export class GoldenModel {
  readonly cases: readonly GoldenCase[];
  readonly decoder: Decoder;
  readonly encoder: VisionEncoder;
  /** Every different picture of the cases. */
  readonly pictures: readonly ImageTensor[];

  private constructor(cases: readonly GoldenCase[], decoder: Decoder, encoder: VisionEncoder) {
    this.cases = cases;
    this.decoder = decoder;
    this.encoder = encoder;
    this.pictures = cases.flatMap((golden) => picturesOf(golden));
  }

  /** On the CPU, whatever device the formats are for. */
  static async load(name: GoldenName, formats: GoldenFormats = FP32): Promise<GoldenModel> {
    const model = await goldenPackage(name, formats);
    const parts = [goldenCases(name), Decoder.load(model), VisionEncoder.load(model)] as const;
    return new GoldenModel(...(await Promise.all(parts)));
  }

  async dispose(): Promise<void> {
    await Promise.all([this.decoder.dispose(), this.encoder.dispose()]);
  }
}

/** The pictures of a case, in order. */
export function picturesOf(golden: GoldenCase): ImageTensor[] {
  let first = 0;
  return golden.grids.map(([, gridHeight, gridWidth], index) => {
    const patches = gridHeight * gridWidth;
    const pixelValues = golden.pixelValues.slice(
      first * PATCH_VALUES,
      (first + patches) * PATCH_VALUES,
    );
    first += patches;
    return {
      pixelValues,
      gridHeight,
      gridWidth,
      imageTokens: patches / 4,
      resizedWidth: gridWidth * 16,
      resizedHeight: gridHeight * 16,
      sourceWidth: gridWidth * 16,
      sourceHeight: gridHeight * 16,
      key: `${golden.name}/${index}`,
      byteLength: pixelValues.byteLength,
    };
  });
}

export function promptOfCase(golden: GoldenCase): Prompt {
  let from = 0;
  const pictures = picturesOf(golden).map((tensor) => {
    const start = golden.inputIds.indexOf(IMAGE_TOKEN, from);
    from = start + tensor.imageTokens;
    return { start, rows: tensor.gridHeight / 2, columns: tensor.gridWidth / 2, tensor };
  });
  return { ids: Int32Array.from(golden.inputIds), pictures };
}

export function promptOf(parts: readonly PromptPart[]): Prompt {
  const ids: number[] = [];
  const pictures: PlacedPicture[] = [];
  for (const part of parts) {
    if ("length" in part) {
      ids.push(...part);
      continue;
    }
    const [rows, columns] = [part.gridHeight / 2, part.gridWidth / 2];
    pictures.push({ start: ids.length, rows, columns, tensor: part });
    ids.push(...Array<number>(part.imageTokens).fill(IMAGE_TOKEN));
  }
  return { ids: Int32Array.from(ids), pictures };
}

/** Goes on with given tokens and keeps the scores after each. */
export class Script implements TokenReader {
  readonly scores: Float32Array[] = [];
  readonly #tokens: readonly number[];

  constructor(tokens: readonly number[]) {
    this.#tokens = tokens;
  }

  take(scores: Scores): number | undefined {
    if (!(scores instanceof Float32Array)) throw new TypeError("Expected all scores");
    this.scores.push(Float32Array.from(scores));
    return this.#tokens[this.scores.length - 1];
  }
}

export interface SequenceChoices {
  /** Left out: computed ahead of time. */
  readonly reader?: TokenReader;
  readonly chat?: string | undefined;
  readonly priority?: number;
  readonly signal?: AbortSignal;
  readonly onQueue?: (position: number) => void;
}

export function sequenceOf(prompt: Prompt, choices: SequenceChoices = {}): Sequence {
  return new Sequence({
    ...prompt,
    reader: choices.reader,
    chat: choices.chat,
    priority: choices.priority ?? 0,
    onQueue: choices.onQueue,
    signal: choices.signal ?? new AbortController().signal,
    watch: new Stopwatch(),
  });
}

export interface EngineChoices {
  /** How many, or those of another kind. @default 4 */
  readonly slots?: number | SlotPool;
  readonly capacity?: number;
  readonly chunkTokens?: number;
  readonly maxQueue?: number;
  readonly features?: FeatureCache;
  readonly prefixes?: PrefixCache;
  readonly maxStallMs?: number;
  /** What encodes pictures instead. */
  readonly visionEncoder?: Pick<VisionEncoder, "encode">;
}

/** An engine with slots of its own. */
export function engineOn(
  { decoder, encoder }: Pick<GoldenModel, "decoder" | "encoder">,
  choices: EngineChoices = {},
): { engine: Engine; slots: KvSlots; features: FeatureCache; prefixes: PrefixCache } {
  const { slots: wanted = 4 } = choices;
  const slots = decoder.createSlots(
    typeof wanted === "number" ? wanted : 1,
    choices.capacity ?? 128,
  );
  const features = choices.features ?? new FeatureCache(0);
  const prefixes = choices.prefixes ?? new PrefixCache({ maxBytes: 0 });
  const engine = new Engine({
    decoder,
    slots: typeof wanted === "number" ? slots : wanted,
    visionEncoder: choices.visionEncoder ?? encoder,
    features,
    prefixes,
    maxQueue: choices.maxQueue ?? 64,
    maxStallMs: choices.maxStallMs ?? 500,
    maxChunkTokens: choices.chunkTokens ?? 256,
  });
  return { engine, slots, features, prefixes };
}

/** Scores after the prompt and after each token, of a slot of its own and whole prompts: no loop, no caches. */
export async function plainScores(
  { decoder, encoder }: GoldenModel,
  prompt: Prompt,
  tokens: readonly number[],
): Promise<Float32Array[]> {
  const slots = decoder.createSlots(1, prompt.ids.length + tokens.length + 1);
  const sequence = sequenceOf(prompt);
  const slot = slots.open();
  sequence.slot = slot;
  for (const picture of sequence.pictures) picture.features = await encoder.encode(picture.tensor);
  const [first] = await decoder.append(sequence.chunk(prompt.ids.length), slot);
  const scores = [Float32Array.from(first!)];
  for (const id of tokens) {
    const row = { slot: slot, id, position: sequence.nextPosition };
    const [next] = await decoder.decode([row]);
    scores.push(Float32Array.from(next!));
  }
  slots.dispose();
  return scores;
}
