// What one level of an int8 value stands for, in each layer: no data is needed beforehand, because the scales grow with what
// comes. In: what a run found it needed. Out: scales for the next run, and by how much older levels change.
// All slots of a decoder have them in common, since a batch is one run.

import { SCALE_MARGIN } from "../convert/cached-attention.ts";
import type { NamedValues, Session } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

/** Smaller than any value that counts; the first run grows out of it. */
const SMALLEST = 1e-9;

/** A layer whose scale has grown. */
export interface Growth {
  readonly layer: number;
  /** What older levels are multiplied with; below 1. */
  readonly factor: number;
}

export class ValueScales {
  /** (layers) */
  readonly #current: Float32Array;
  /** (layers) */
  readonly #used: Float32Array;
  readonly inputs: NamedValues;
  readonly outputs: NamedValues;

  /** Undefined where a graph keeps its values in another format. */
  static of(session: Pick<Session, "inputs">): ValueScales | undefined {
    const [layers] = session.inputs.find(({ name }) => name === "value_scales")?.dims ?? [];
    return typeof layers === "number" ? new ValueScales(layers) : undefined;
  }

  constructor(layers: number) {
    this.#current = new Float32Array(layers).fill(SMALLEST);
    this.#used = new Float32Array(layers);
    this.inputs = { value_scales: Value.of(this.#current, [layers]) };
    this.outputs = { value_scales_used: Value.of(this.#used, [layers]) };
  }

  /** A copy, (layers). */
  read(): Float32Array {
    return this.#current.slice();
  }

  /** Of a layer. */
  at(layer: number): number {
    return this.#current[layer]!;
  }

  /** @internal For tests: as if a run had needed these, (layers). */
  need(scales: ArrayLike<number>): void {
    this.#used.set(scales);
  }

  /**
   * Grows out of what the last run found too small.
   *
   * @param margin whether the run has cut its values off, and needs room beyond them when it is repeated
   */
  grow(margin: boolean): Growth[] {
    const growths: Growth[] = [];
    for (const [layer, used] of this.#used.entries()) {
      const before = this.#current[layer]!;
      // What is not finite is the run's own trouble, and must not spoil the others.
      if (!(used > before) || !Number.isFinite(used)) continue;
      this.#current[layer] = margin ? used * SCALE_MARGIN : used;
      growths.push({ layer, factor: before / this.#current[layer]! });
    }
    return growths;
  }

  dispose(): void {
    for (const value of Object.values({ ...this.inputs, ...this.outputs })) value.dispose();
  }
}

/** Brings levels to another scale, in place. */
export function scaleLevels(levels: Int8Array, factor: number): void {
  for (let i = 0; i < levels.length; i++) levels[i] = Math.round(levels[i]! * factor);
}
