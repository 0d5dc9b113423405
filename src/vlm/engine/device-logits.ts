// Whole rows of logits from a device, for whoever cannot do with candidates. In: where a row lies. Out: its numbers, on the
// host. It knows nothing of tokens.

import { type DeviceMemory, Staging } from "../runtime/device-memory.ts";
import type { Value } from "../runtime/value.ts";

/** Rows of one decoder. One after the other: they share memory. */
export class DeviceLogits {
  readonly #memory: DeviceMemory;
  readonly #vocabSize: number;
  #staging: Staging | undefined;
  #fetching: Promise<unknown> = Promise.resolve();

  constructor(memory: DeviceMemory, vocabSize: number) {
    this.#memory = memory;
    this.#vocabSize = vocabSize;
  }

  /** One row, from element `first` on. @throws DeviceError */
  fetch(logits: Value, first: number): Promise<Float32Array> {
    const row = this.#fetching.then(() => this.#fetchRow(logits, first));
    this.#fetching = row.catch(() => {});
    return row;
  }

  dispose(): void {
    this.#staging?.dispose();
  }

  async #fetchRow(logits: Value, first: number): Promise<Float32Array> {
    const byteLength = 4 * this.#vocabSize;
    this.#staging ??= await this.#memory.stage(Staging.bytes("f32", [this.#vocabSize]), "logits");
    const { array, value } = this.#staging.retake("f32", [this.#vocabSize]);
    const copies = this.#memory.copy(value, 0, logits, 4 * first, byteLength);
    await this.#memory.finish([...copies, ...this.#staging.download()]);
    value.dispose();
    return array.slice();
  }
}
