// Steps by kernels of our own, as the decoder of a card uses them: only where they are there, and where they were found to
// compute what the graph computes. In: chats. Out: candidates, or why there are none.

import { CANDIDATES } from "../convert/candidate-search.ts";
import type { CardWeights } from "../runtime/card-weights.ts";
import { CompilerError } from "../runtime/cuda-compiler.ts";
import type { CudaDevice } from "../runtime/cuda-device.ts";
import { KernelError } from "../runtime/cuda-kernels.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { NamedValues } from "../runtime/session.ts";
import type { Value } from "../runtime/value.ts";
import type { DecodeRow, Scores } from "./decoder-backend.ts";
import type { DeviceRotary } from "./device-rotary.ts";
import type { DeviceSlot, DeviceSlots } from "./device-slots.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { relativeError } from "./relative-error.ts";
import { StepKernels } from "./step-kernels.ts";
import { loadStepWeights, StepWeightsError } from "./step-weights.ts";

export interface CardRow extends DecodeRow {
  readonly slot: DeviceSlot;
}

/** What a check compares with, and how logits are fetched. */
export interface CardStepsOwner {
  /** The same step by the graph. */
  readonly byGraph: (rows: readonly CardRow[]) => Promise<readonly Scores[]>;
  /** Appends tokens of text by the graph. */
  readonly read: (ids: Int32Array, slot: DeviceSlot) => Promise<void>;
  readonly fetch: (logits: Value, first: number) => Promise<Float32Array>;
}

/** Of the size of the logits: both compute in 16 bits, in another order. Measured on an H100: below 0.01. */
const MOST_DIFFERENCE = 0.05;
/** Chats of the check have prompts of different lengths. */
const CHECK_TOKENS = 7;

/** Kernels for steps, and the weights that they share with the graph. */
export class CardSteps {
  readonly #weights: CardWeights;
  readonly #card: CudaDevice;
  readonly #vocabSize: number;
  #kernels: StepKernels | undefined;
  readonly #checked = new Set<DeviceSlots>();

  private constructor(card: CudaDevice, weights: CardWeights, vocabSize: number) {
    this.#card = card;
    this.#weights = weights;
    this.#vocabSize = vocabSize;
  }

  /** The weights, before a session is made that uses them. @throws StepWeightsError, DeviceError */
  static async load(
    card: CudaDevice,
    model: OnnxPackage,
    signal?: AbortSignal,
  ): Promise<CardSteps> {
    const weights = await loadStepWeights(card, model, signal);
    return new CardSteps(card, weights, model.config.text.vocabSize);
  }

  /** Of the graph, by name. They must outlive its session. */
  get weights(): NamedValues {
    return this.#weights.values;
  }

  /** Are there kernels? */
  get ready(): boolean {
    return this.#kernels !== undefined;
  }

  /** Did the kernels compute in these slots what the graph computes? */
  trusts(slots: DeviceSlots): boolean {
    return this.#checked.has(slots);
  }

  /** The kernels. @throws CompilerError, KernelError, DeviceError */
  async prepare(memory: DeviceMemory, { config }: OnnxPackage): Promise<void> {
    const bits = { layers: 4, head: 8 } as const;
    const weights = { values: this.#weights.values, bits };
    this.#kernels = await StepKernels.create(this.#card, memory, config.text, weights);
  }

  /** Can these chats take a step? */
  takes(rows: readonly CardRow[]): boolean {
    const [first] = rows;
    return (
      first !== undefined &&
      rows.length <= (this.#kernels?.mostRows ?? 0) &&
      this.trusts(first.slot.slots)
    );
  }

  async step(
    rows: readonly CardRow[],
    { cos, sin }: Pick<DeviceRotary, "cos" | "sin">,
    fetch: CardStepsOwner["fetch"],
  ): Promise<readonly Scores[]> {
    const [{ slot: first }] = rows as [CardRow];
    const { topScores, topIds, logits } = await this.#kernels!.step(
      rows.map(({ slot, id, position }) => ({ id, position, slot: slot.row, length: slot.length })),
      { slots: first.slots, cos, sin },
    );
    return rows.map((_, row) => {
      const [from, to] = [row * CANDIDATES, (row + 1) * CANDIDATES];
      return {
        ids: Array.from(topIds.subarray(from, to), Number),
        scores: topScores.slice(from, to),
        full: () => fetch(logits, row * this.#vocabSize),
      };
    });
  }

  /**
   * Computes steps both ways, for every number of chats that has kernels of its own. Slots must be empty.
   *
   * @returns the largest difference, of the size of the logits; steps are taken from now on if it is small
   */
  async check(slots: DeviceSlots, tables: DeviceRotary, owner: CardStepsOwner): Promise<number> {
    const kernels = this.#kernels!;
    const count = Math.min(kernels.mostRows, slots.count);
    const rows: CardRow[] = [];
    try {
      for (let index = 0; index < count; index++) {
        const tokens = Math.min(CHECK_TOKENS * (index + 1), slots.capacity - 1);
        const slot = slots.open();
        const id = (index + 1) % this.#vocabSize;
        rows.push({ slot, id, position: tokens });
        const ids = Int32Array.from(
          { length: tokens },
          (_, i) => (31 * i + index) % this.#vocabSize,
        );
        await owner.read(ids, slot);
      }
      const expected = await this.#logitsOf(await owner.byGraph(rows));
      if (!expected.every((row) => row.every(Number.isFinite))) {
        throw new StepWeightsError(
          "the graph's own logits are no numbers, so there is nothing to compare with",
        );
      }
      for (const { slot, position } of rows) slot.truncate(position);
      let largest = 0;
      for (const form of kernels.forms.filter((size) => size <= count)) {
        const some = rows.slice(0, form);
        const found = await this.#logitsOf(await this.step(some, tables, owner.fetch));
        largest = Math.max(
          largest,
          ...found.map((row, index) => relativeError(row, expected[index]!)),
        );
      }
      if (largest < MOST_DIFFERENCE) this.#checked.add(slots);
      return largest;
    } finally {
      for (const { slot } of rows) slot.dispose();
    }
  }

  /** The kernels; before the session. */
  async dispose(): Promise<void> {
    await this.#kernels?.dispose();
  }

  /** After the session that uses them. */
  async disposeWeights(): Promise<void> {
    await this.#weights.dispose();
  }

  async #logitsOf(scores: readonly Scores[]): Promise<Float32Array[]> {
    const found: Float32Array[] = [];
    for (const row of scores)
      found.push(row instanceof Float32Array ? row.slice() : await row.full());
    return found;
  }
}

const REFUSALS = [CompilerError, KernelError, StepWeightsError];

/** Did the kernels fail for a reason that leaves the card as it was? */
export function isRefusal(error: unknown): error is Error {
  return REFUSALS.some((kind) => error instanceof kind);
}

/** What is said of it. */
export function withoutKernels({ message }: Error): string {
  return `Answers are computed by the operators of ONNX Runtime, not by kernels of our own: ${message}`;
}
