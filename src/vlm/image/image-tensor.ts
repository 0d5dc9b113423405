// Picture files to the tensors of the vision encoder, remembered by content.
// In: the bytes of a file. Out: for each view of it patches, their grid and a key that names both content and settings.
// It knows nothing of prompts or of the engine.

import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import PQueue from "p-queue";
import { integer, object, oneOf, parseOptions } from "../../parse-options.ts";
import type { ImageProcessorConfig } from "../checkpoint/processor-config.ts";
import { SharedWork } from "../event-loop/shared-work.ts";
import { TimeSlice } from "../event-loop/time-slice.ts";
import { resizeBicubic } from "./bicubic.ts";
import { checkFileBytes, checkImageLimits, type ImageLimits } from "./decode-image.ts";
import { patchify } from "./patches.ts";
import { DEFAULT_PICTURE_NOTES, type PictureNotes } from "./picture-notes.ts";
import { readViews, type View } from "./picture-views.ts";
import type { AlphaMode } from "./rgb-image.ts";
import { fitToBudget, type PixelBudget } from "./smart-resize.ts";

/** One picture, ready for the vision encoder. Shared between requests: read only. */
export interface ImageTensor {
  /** (gridHeight * gridWidth, 3 * temporalPatchSize * patchSize * patchSize), merge block by merge block. */
  readonly pixelValues: Float32Array;
  /** In patches. */
  readonly gridHeight: number;
  readonly gridWidth: number;
  /** How many tokens stand for the picture in the prompt. */
  readonly imageTokens: number;
  readonly resizedWidth: number;
  readonly resizedHeight: number;
  /** Upright, in pixels. */
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  /** SHA-256 of the file and everything else that decides the tensor; equal keys, equal tensors. */
  readonly key: string;
  /** What it counts for in the cache. */
  readonly byteLength: number;
}

export interface ImageTensorCacheOptions {
  /** Most bytes of finished tensors that are kept; `0` keeps none. A token is 24 KiB with Qwen3-VL's patches. */
  readonly maxBytes: number;
  readonly processor: ImageProcessorConfig;
  /**
   * Most tokens a picture becomes: it is made smaller until it fits. The checkpoint's own limits hold too.
   *
   * The checkpoint allows 16384, minutes of work on a CPU. 512 are about 832 x 608 pixels: enough to read a phone's
   * screenshot, and half the work of 1024.
   *
   * @default 512
   */
  readonly maxImageTokens?: number;
  /** @default "white" */
  readonly alpha?: AlphaMode;
  readonly limits?: ImageLimits;
  /** Most frames of an animation that are seen; they share the tokens of one picture. @default 4 */
  readonly maxFrames?: number;
  /** Most pieces that a long picture is cut into; each may take the tokens of one picture. @default 4 */
  readonly maxTiles?: number;
  /** @default DEFAULT_PICTURE_NOTES */
  readonly notes?: PictureNotes;
}

/** One view of a picture, with what is said about it in the prompt, in front of it and behind. */
export interface TensorView {
  readonly tensor: ImageTensor;
  readonly before: string;
  readonly after: string;
}

export interface CachedImageTensor {
  /** Of the first view. */
  readonly tensor: ImageTensor;
  /** In order: one of a picture, several of an animation or of a long screenshot. */
  readonly views: readonly TensorView[];
  /** Was the finished tensor there already? Joining somebody else's unfinished work is no hit. */
  readonly hit: boolean;
}

/** Which pictures are to be forgotten. */
export interface ForgettableImages {
  /** Does this key belong to one of them? */
  readonly picture?: (key: string) => boolean;
  readonly chat?: string | undefined;
}

const DEFAULT_MAX_IMAGE_TOKENS = 512;
export const DEFAULT_MAX_FRAMES = 4;
export const DEFAULT_MAX_TILES = 4;

interface FinishedPicture {
  readonly views: readonly TensorView[];
  readonly byteLength: number;
}

/** Key, sizes and bookkeeping of an entry, roughly. */
const ENTRY_OVERHEAD_BYTES = 512;

const OPTIONS_SCHEMA = object({
  maxBytes: integer(0),
  maxImageTokens: integer(1).optional(),
  alpha: oneOf(["white", "drop"]),
  maxFrames: integer(1),
  maxTiles: integer(1),
});

/** Makes image tensors, each once for all who want it, and keeps the latest within a number of bytes. */
export class ImageTensorCache {
  readonly #processor: ImageProcessorConfig;
  readonly #budget: PixelBudget;
  readonly #alpha: AlphaMode;
  readonly #limits: Required<ImageLimits>;
  readonly #settings: string;
  readonly #maxFrames: number;
  readonly #maxTiles: number;
  readonly #notes: PictureNotes;
  readonly #finished: LRUCache<string, FinishedPicture> | undefined;
  /** Of each finished tensor: the chats that asked for it; undefined stands for those without a name. */
  readonly #chats = new Map<string, Set<string | undefined>>();
  readonly #inWork = new SharedWork<FinishedPicture>();
  readonly #queue: PQueue;

  /** @throws {TypeError | RangeError} for a wrong option: what was expected and what came. */
  constructor(options: ImageTensorCacheOptions) {
    const { maxBytes, maxImageTokens, alpha = "white" } = options;
    const { maxFrames = DEFAULT_MAX_FRAMES, maxTiles = DEFAULT_MAX_TILES } = options;
    const checked = { maxBytes, maxImageTokens, alpha, maxFrames, maxTiles };
    parseOptions(OPTIONS_SCHEMA, checked, "an image tensor cache");
    this.#processor = options.processor;
    this.#alpha = alpha;
    this.#limits = checkImageLimits(options.limits);
    this.#budget = pixelBudget(options.processor, maxImageTokens);
    this.#maxFrames = maxFrames;
    this.#maxTiles = maxTiles;
    this.#notes = options.notes ?? DEFAULT_PICTURE_NOTES;
    this.#settings = settingsKey(options.processor, this.#budget, this.#alpha);
    this.#finished =
      maxBytes === 0
        ? undefined
        : new LRUCache({
            maxSize: maxBytes,
            sizeCalculation: ({ byteLength }) => byteLength,
            dispose: (_, key) => this.#chats.delete(key),
          });
    this.#queue = new PQueue({ concurrency: this.#limits.maxConcurrent });
  }

  /** Bytes of all tensors kept; never more than `maxBytes`. */
  get totalBytes(): number {
    return this.#finished?.calculatedSize ?? 0;
  }

  /** The tensors kept, latest used first. */
  get tensors(): readonly ImageTensor[] {
    return [...(this.#finished?.values() ?? [])].flatMap(({ views }) =>
      views.map(({ tensor }) => tensor),
    );
  }

  /**
   * The tensors of a picture, from the cache or made now.
   *
   * @param chat who asks, for {@link forget}
   * @param whole one view only: the first frame with something in it, a long picture in one piece
   * @throws {ImageDecodeError} the bytes are no picture that can be read; never remembered.
   * @throws the signal's reason, at once; others who wait for the same picture are not disturbed.
   */
  async get(
    data: Uint8Array,
    signal?: AbortSignal,
    chat?: string,
    whole = false,
  ): Promise<CachedImageTensor> {
    signal?.throwIfAborted();
    checkFileBytes(data, this.#limits.maxFileBytes);
    const views = whole ? "whole" : `${this.#maxFrames}/${this.#maxTiles}`;
    const key = `${await contentHash(data, signal)}:${this.#settings}:${views}`;
    const finished = this.#finished?.get(key);
    const make = (workSignal: AbortSignal) => this.#make(key, data, whole, workSignal);
    const picture = finished ?? (await this.#inWork.run(key, make, signal));
    if (this.#finished?.peek(key))
      this.#chats.set(key, (this.#chats.get(key) ?? new Set()).add(chat));
    const tensor = picture.views[0]!.tensor;
    return { tensor, views: picture.views, hit: finished !== undefined };
  }

  /**
   * Forgets pictures by their key, and those that only this chat asked for. Work in flight goes on.
   *
   * @returns bytes of the tensors that went
   */
  forget({ picture, chat }: ForgettableImages): number {
    const before = this.totalBytes;
    for (const key of [...(this.#finished?.keys() ?? [])]) {
      const chats = this.#chats.get(key);
      const last = chat !== undefined && chats?.delete(chat) && chats.size === 0;
      if (last || picture?.(key)) this.#finished?.delete(key);
    }
    return before - this.totalBytes;
  }

  /** Forgets every tensor kept. Work in flight goes on. */
  clear(): void {
    this.#finished?.clear();
  }

  async #make(
    key: string,
    data: Uint8Array,
    whole: boolean,
    signal: AbortSignal,
  ): Promise<FinishedPicture> {
    // The queue is not told of the signal: it would give the place away while sharp is still decoding.
    const picture = await this.#queue.add(async () => {
      signal.throwIfAborted();
      return this.#makeNow(key, data, whole, signal);
    });
    this.#finished?.set(key, picture);
    return picture;
  }

  async #makeNow(
    key: string,
    data: Uint8Array,
    whole: boolean,
    signal: AbortSignal,
  ): Promise<FinishedPicture> {
    const slice = new TimeSlice(signal);
    const [maxFrames, maxTiles] = whole ? [1, 1] : [this.#maxFrames, this.#maxTiles];
    const options = {
      limits: this.#limits,
      alpha: this.#alpha,
      budget: this.#budget,
      maxFrames,
      maxTiles,
      notes: this.#notes,
    };
    const views: TensorView[] = [];
    for (const [index, view] of (await readViews(data, options, slice)).entries()) {
      signal.throwIfAborted();
      const viewKey = index === 0 ? key : `${key}#${index}`;
      const { before, after } = view;
      views.push({ tensor: await this.#toTensor(viewKey, view, slice), before, after });
    }
    return { views, byteLength: views.reduce((sum, { tensor }) => sum + tensor.byteLength, 0) };
  }

  async #toTensor(key: string, view: View, slice: TimeSlice): Promise<ImageTensor> {
    const { image, budget } = view;
    const { patchSize, mergeSize } = this.#processor;
    const size = fitToBudget(image, budget);
    const resized = await resizeBicubic(image, size.width, size.height, slice);
    const pixelValues = await patchify(resized, this.#processor, slice); // (patches, columns)
    const gridHeight = size.height / patchSize;
    const gridWidth = size.width / patchSize;
    return {
      pixelValues,
      gridHeight,
      gridWidth,
      imageTokens: (gridHeight * gridWidth) / mergeSize ** 2,
      resizedWidth: size.width,
      resizedHeight: size.height,
      sourceWidth: image.width,
      sourceHeight: image.height,
      key,
      byteLength: pixelValues.byteLength + ENTRY_OVERHEAD_BYTES,
    };
  }
}

/** The checkpoint's limits, made smaller by the wish for few tokens. */
function pixelBudget(
  { patchSize, mergeSize, minPixels, maxPixels }: ImageProcessorConfig,
  maxImageTokens: number = DEFAULT_MAX_IMAGE_TOKENS,
): PixelBudget {
  const factor = patchSize * mergeSize;
  const fewest = Math.min(maxPixels, maxImageTokens * factor ** 2);
  return { factor, minPixels: Math.min(minPixels, fewest), maxPixels: fewest };
}

/** Everything but the file that decides the tensor. */
function settingsKey(
  { patchSize, temporalPatchSize, mergeSize, imageMean, imageStd }: ImageProcessorConfig,
  { minPixels, maxPixels }: PixelBudget,
  alpha: AlphaMode,
): string {
  return [
    `${minPixels}-${maxPixels}`,
    alpha,
    `${patchSize}x${temporalPatchSize}x${mergeSize}`,
    imageMean.join(","),
    imageStd.join(","),
  ].join(":");
}

/** What a picture's keys begin with: its SHA-256 in hexadecimal. A large file is read in pieces: nobody waits for it. */
export async function contentHash(data: Uint8Array, signal?: AbortSignal): Promise<string> {
  const slice = new TimeSlice(signal);
  const pieceBytes = 2 ** 20;
  const hash = createHash("sha256");
  for (let start = 0; start < data.length; start += pieceBytes) {
    if (slice.over) await slice.rest();
    hash.update(data.subarray(start, start + pieceBytes));
  }
  return hash.digest("hex");
}
