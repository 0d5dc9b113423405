// Buffers of decoder runs on a device by the shape of the run: made at first use, and given up when prompts have had too
// many other lengths since. In: a shape. Out: buffers, of which all have one memory for logits.

import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { Value } from "../runtime/value.ts";
import {
  type DeviceDecoderSizes,
  DeviceRunBuffers,
  type DeviceRunShape,
} from "./device-run-buffers.ts";

/** Prompts have any length: their shapes must not pile up. Those of decode steps are few and stay. */
const MOST_PROMPT_SHAPES = 8;

/** Buffers of one decoder. */
export class DeviceBufferPool {
  readonly #memory: DeviceMemory;
  readonly #sizes: DeviceDecoderSizes;
  readonly #buffers = new Map<string, DeviceRunBuffers>();
  #logits: Value | undefined;

  constructor(memory: DeviceMemory, sizes: DeviceDecoderSizes) {
    this.#memory = memory;
    this.#sizes = sizes;
  }

  /** @throws DeviceError `device-memory` */
  async of(shape: DeviceRunShape): Promise<DeviceRunBuffers> {
    const { batch, tokens, rows } = shape;
    const key = `${batch} ${tokens} ${rows}`;
    const known = this.#buffers.get(key);
    if (known) {
      // Those used last are the last to go.
      this.#buffers.delete(key);
      this.#buffers.set(key, known);
      return known;
    }
    const logits = await this.#logitsFor(rows);
    const made = await DeviceRunBuffers.create(this.#memory, this.#sizes, shape, logits);
    this.#buffers.set(key, made);
    this.#forgetShapes();
    return made;
  }

  dispose(): void {
    for (const buffers of this.#buffers.values()) buffers.dispose();
    this.#buffers.clear();
  }

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
    this.#logits = await this.#memory.allocate("f32", [rows, vocabSize], "logits");
    // Buffers of other shapes keep the old memory alive as long as they last.
    old?.dispose();
    return this.#logits;
  }
}
