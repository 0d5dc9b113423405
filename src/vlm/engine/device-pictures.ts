// Rows of pictures in a run on a card: memory for as many tokens as the largest run had, zeros for runs without any. In:
// features that lie on the card, and where they go. Out: inputs of the graph, and copies to make before the run.

import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { NativeCall } from "../runtime/device-thread.ts";
import type { NamedValues } from "../runtime/session.ts";
import type { Value } from "../runtime/value.ts";
import type { PlacedFeatures } from "./decoder-backend.ts";

interface PictureSizes {
  readonly hiddenSize: number;
  readonly deepstackTaps: number;
}

interface PictureRows {
  readonly tokens: number;
  /** (tokens, H) */
  readonly embeds: Value;
  /** (taps, tokens, H) */
  readonly deepstack: Value;
}

/** What a run with pictures needs; whoever asked for it disposes the inputs after the run. */
export interface BoundPictures {
  readonly inputs: NamedValues;
  readonly copies: readonly NativeCall[];
}

export class DevicePictures {
  readonly #memory: DeviceMemory;
  readonly #sizes: PictureSizes;
  #rows: PictureRows | undefined;
  /** What runs without pictures are given: zeros. */
  #nothing: NamedValues | undefined;

  constructor(memory: DeviceMemory, sizes: PictureSizes) {
    this.#memory = memory;
    this.#sizes = sizes;
  }

  /** @param mask 1 where a token is a picture's, filled in @throws DeviceError `device-memory` */
  async bind(
    images: readonly PlacedFeatures[],
    mask: { fill(value: 1, from: number, to: number): unknown },
    tokens: number,
  ): Promise<BoundPictures> {
    const { hiddenSize, deepstackTaps } = this.#sizes;
    const rows = await this.#rowsFor(tokens);
    return {
      copies: [
        ...this.#memory.clear(rows.deepstack),
        ...images.flatMap((image) => this.#place(image, mask, rows, tokens)),
      ],
      inputs: {
        image_embeds: rows.embeds.slice(0, [1, tokens, hiddenSize]),
        deepstack_embeds: rows.deepstack.slice(0, [deepstackTaps, 1, tokens, hiddenSize]),
      },
    };
  }

  /** The inputs of a run without pictures; they stay. */
  async none(): Promise<NamedValues> {
    if (this.#nothing) return this.#nothing;
    const { hiddenSize, deepstackTaps } = this.#sizes;
    const { embeds, deepstack } = await this.#allocate(
      [1, 1, hiddenSize],
      [deepstackTaps, 1, 1, hiddenSize],
    );
    try {
      await this.#memory.finish([...this.#memory.clear(embeds), ...this.#memory.clear(deepstack)]);
    } catch (error) {
      for (const value of [embeds, deepstack]) value.dispose();
      throw error;
    }
    this.#nothing = { image_embeds: embeds, deepstack_embeds: deepstack };
    return this.#nothing;
  }

  async #rowsFor(tokens: number): Promise<PictureRows> {
    if (this.#rows && this.#rows.tokens >= tokens) return this.#rows;
    const { hiddenSize, deepstackTaps } = this.#sizes;
    this.#rows?.embeds.dispose();
    this.#rows?.deepstack.dispose();
    this.#rows = undefined; // Where there is no memory for more, what was given back is not used again.
    const made = await this.#allocate([tokens, hiddenSize], [deepstackTaps, tokens, hiddenSize]);
    this.#rows = { tokens, ...made };
    return this.#rows;
  }

  async #allocate(embedsDims: readonly number[], deepstackDims: readonly number[]) {
    const wanted = [embedsDims, deepstackDims].map((dims) => ({ type: "f16" as const, dims }));
    const [embeds, deepstack] = await this.#memory.allocateAll(wanted, "pictures");
    return { embeds: embeds!, deepstack: deepstack! };
  }

  /** Marks the tokens of a picture, and copies its features and DeepStack rows to their places. */
  #place(
    { start, features }: PlacedFeatures,
    mask: { fill(value: 1, from: number, to: number): unknown },
    rows: PictureRows,
    tokens: number,
  ): NativeCall[] {
    const { onDevice } = features;
    if (!onDevice) throw new TypeError("The features of a picture are not on the device");
    const { hiddenSize, deepstackTaps } = this.#sizes;
    const to = Math.max(start, 0); // first token of the run
    const from = to - start; // first row of the features
    const count = Math.min(features.tokens - from, tokens - to);
    mask.fill(1, to, to + count);
    const rowBytes = 2 * hiddenSize;
    const copy = (target: Value, targetRow: number, source: Value, sourceRow: number) =>
      this.#memory.copy(
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
}
