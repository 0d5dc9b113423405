// The rotary tables of a decoder on a card: a row for every position of text, and behind them as many for the tokens of
// pictures in a run. In: positions. Out: rows to look up, and copies to make before the run. It knows nothing of tokens.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { fromFloat32 } from "../checkpoint/dtype.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { NativeCall } from "../runtime/device-thread.ts";
import type { Value } from "../runtime/value.ts";
import { mropeCosSin } from "./rotary.ts";

/** Tables of one capacity. */
export class DeviceRotary {
  /** Positions of text that have a row. */
  readonly rows: number;
  /** (2 rows, head size / 2), f16 */
  readonly cos: Value;
  readonly sin: Value;
  readonly #memory: DeviceMemory;
  readonly #text: Qwen3VlConfig["text"];

  private constructor(
    memory: DeviceMemory,
    text: Qwen3VlConfig["text"],
    rows: number,
    { cos, sin }: { readonly cos: Value; readonly sin: Value },
  ) {
    this.#memory = memory;
    this.#text = text;
    this.rows = rows;
    this.cos = cos;
    this.sin = sin;
  }

  /** @throws DeviceError `device-memory` */
  static async create(
    memory: DeviceMemory,
    text: Qwen3VlConfig["text"],
    rows: number,
  ): Promise<DeviceRotary> {
    const dims = [2 * rows, text.headSize / 2];
    const cos = await memory.allocate("f16", dims, "rotary tables");
    const sin = await memory.allocate("f16", dims, "rotary tables");
    const tables = new DeviceRotary(memory, text, rows, { cos, sin });
    const positions = Int32Array.from({ length: 3 * rows }, (_, index) => index % rows);
    await memory.finish(tables.#upload(positions, 0));
    return tables;
  }

  /**
   * Looks up the rows of a prompt: tokens of text have theirs already, those of pictures get new ones.
   *
   * @param positions (3, tokens)
   * @param rows of each token, filled in
   */
  place(positions: Int32Array, rows: BigInt64Array): NativeCall[] {
    const tokens = positions.length / 3;
    const own: number[] = [];
    for (let token = 0; token < tokens; token++) {
      const [t, h, w] = [0, 1, 2].map((axis) => positions[axis * tokens + token]!);
      if (t === h && t === w) {
        rows[token] = BigInt(t!);
      } else {
        rows[token] = BigInt(this.rows + own.length);
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
    return this.#upload(mixed, this.rows);
  }

  dispose(): void {
    this.cos.dispose();
    this.sin.dispose();
  }

  #upload(positions: Int32Array, row: number): NativeCall[] {
    const angles = mropeCosSin(positions, this.#text);
    const half = this.#text.headSize / 2;
    return (
      [
        [this.cos, angles.cos],
        [this.sin, angles.sin],
      ] as const
    ).flatMap(([table, values]) => {
      const bits = new Uint16Array(values.length);
      fromFloat32(values, "f16", bits);
      return this.#memory.upload(table, bits, 2 * row * half);
    });
  }
}
