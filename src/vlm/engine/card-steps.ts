// Steps by kernels of our own, as the decoder of a card uses them: only where they are there, and where they were found to
// compute what the graph computes. In: chats. Out: candidates, or why there are none.

import { CANDIDATES } from "../convert/candidate-search.ts";
import { DeviceError } from "../errors.ts";
import type { CardWeights } from "../runtime/card-weights.ts";
import { CompilerError } from "../runtime/cuda-compiler.ts";
import type { CudaDevice } from "../runtime/cuda-device.ts";
import { KernelError } from "../runtime/cuda-kernels.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { MemoryBudget } from "../runtime/memory-budget.ts";
import type { NamedValues } from "../runtime/session.ts";
import type { Value } from "../runtime/value.ts";
import type { Scores } from "./decoder-backend.ts";
import type { DeviceRotary } from "./device-rotary.ts";
import type { DeviceSlots } from "./device-slots.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import {
  type CardRow,
  checkSteps,
  NothingToCompareError,
  type StepFindings,
  type StepTimes,
  type StepWays,
} from "./step-check.ts";
import { StepKernels } from "./step-kernels.ts";
import { StepPlanError } from "./step-plan.ts";
import { loadStepWeights, StepWeightsError } from "./step-weights.ts";

/** What a check compares with, and how logits are fetched. */
export interface CardStepsOwner {
  readonly byGraph: StepWays["byGraph"];
  readonly read: StepWays["read"];
  readonly fetch: (logits: Value, first: number) => Promise<Float32Array>;
}

/** Of the size of the logits: both compute in 16 bits, in another order. Measured on an H100: below 0.01. */
const MOST_DIFFERENCE = 0.05;
type StepTables = Pick<DeviceRotary, "cos" | "sin">;

export interface CardStepsOptions {
  /** Are forms taken also where the graph is as fast? For measuring. @default false */
  readonly always?: boolean;
  /** Chats that ever take a step together. @default any number */
  readonly mostChats?: number | undefined;
  /** A clock, in milliseconds. @default performance.now */
  readonly now?: () => number;
  readonly signal?: AbortSignal | undefined;
  /** Of the model that they are of. @default nobody's */
  readonly budget?: MemoryBudget | undefined;
}

/** Kernels for steps, and the weights that they share with the graph. */
export class CardSteps {
  readonly #weights: CardWeights;
  readonly #card: CudaDevice;
  readonly #vocabSize: number;
  readonly #always: boolean;
  readonly #mostChats: number;
  readonly #now: (() => number) | undefined;
  #kernels: StepKernels | undefined;
  /** Forms that compute what the graph computes, and are to be taken, in the slots where that was found. */
  readonly #taken = new Map<DeviceSlots, readonly number[]>();

  private constructor(
    card: CudaDevice,
    weights: CardWeights,
    vocabSize: number,
    { always = false, mostChats = Number.POSITIVE_INFINITY, now }: CardStepsOptions,
  ) {
    this.#card = card;
    this.#weights = weights;
    this.#vocabSize = vocabSize;
    this.#always = always;
    this.#mostChats = mostChats;
    this.#now = now;
  }

  /** The weights, before a session is made that uses them. @throws StepWeightsError, DeviceError */
  static async load(
    card: CudaDevice,
    model: OnnxPackage,
    options: CardStepsOptions = {},
  ): Promise<CardSteps> {
    const weights = await loadStepWeights(card, model, options);
    return new CardSteps(card, weights, model.config.text.vocabSize, options);
  }

  /** Of the graph, by name. They must outlive its session. */
  get weights(): NamedValues {
    return this.#weights.values;
  }

  /** Makes the kernels. @returns why there are none, if so @throws DeviceError */
  async prepare(memory: DeviceMemory, { config }: OnnxPackage): Promise<string | undefined> {
    const bits = { layers: 4, head: 8 } as const;
    const weights = { values: this.#weights.values, bits };
    return unlessRefused(async () => {
      const { text } = config;
      const most = this.#mostChats;
      this.#kernels = await StepKernels.create(this.#card, memory, text, weights, most);
      return undefined;
    });
  }

  /** Is a step of these chats to be computed by kernels? */
  takes(rows: readonly CardRow[]): boolean {
    const form = this.#kernels?.formFor(rows.length);
    const taken = rows[0] && this.#taken.get(rows[0].slot.slots);
    return form !== undefined && taken?.includes(form) === true;
  }

  /** A step, or why the graph has to compute it, as all further ones in these slots. */
  async step(
    rows: readonly CardRow[],
    tables: StepTables,
    fetch: CardStepsOwner["fetch"],
  ): Promise<readonly Scores[] | string> {
    try {
      return await this.#step(rows, tables, fetch);
    } catch (error) {
      // A driver that does not even take the kernels has computed nothing.
      if (!isRefusal(error)) throw error;
      this.#taken.delete(rows[0]!.slot.slots);
      return withoutKernels(error);
    }
  }

  /**
   * Compares both ways, and takes from now on the forms that compute what the graph computes, and sooner. Slots must be
   * empty. Without kernels it does nothing.
   *
   * @returns what somebody should know of it
   * @throws DeviceError
   */
  async check(
    slots: DeviceSlots,
    tables: StepTables,
    { byGraph, read, fetch }: CardStepsOwner,
  ): Promise<string | undefined> {
    const kernels = this.#kernels;
    if (!kernels) return undefined;
    const byKernels: StepWays["byKernels"] = (rows) => this.#step(rows, tables, fetch);
    const ways = { forms: kernels.forms, byKernels, byGraph, read };
    return unlessRefused(async () => {
      const found = await checkSteps(ways, slots, this.#vocabSize, this.#now).catch((error) => {
        throw whileTried(error);
      });
      return this.#judge(slots, found);
    });
  }

  /** The kernels; before the session. */
  async dispose(): Promise<void> {
    await this.#kernels?.dispose();
  }

  /** After the session that uses them. */
  async disposeWeights(): Promise<void> {
    await this.#weights.dispose();
  }

  #judge(slots: DeviceSlots, { difference, times }: StepFindings): string | undefined {
    if (!(difference < MOST_DIFFERENCE)) {
      const found = `they differ from the graph by ${difference.toPrecision(2)} of the logits`;
      return withoutKernels(new Error(found));
    }
    const isFast = ({ kernelsMs, graphMs }: StepTimes) => this.#always || kernelsMs < graphMs;
    const fast = times.filter(isFast);
    this.#taken.set(
      slots,
      fast.map(({ chats }) => chats),
    );
    return fast.length === times.length
      ? undefined
      : withoutForms(times.filter((form) => !isFast(form)));
  }

  async #step(
    rows: readonly CardRow[],
    { cos, sin }: StepTables,
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
}

const REFUSALS = [
  CompilerError,
  KernelError,
  StepWeightsError,
  StepPlanError,
  NothingToCompareError,
];

async function unlessRefused(make: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await make();
  } catch (error) {
    if (isRefusal(error)) return withoutKernels(error);
    throw error;
  }
}

/** Whoever loads again and again should hear what it is that loses the card. */
function whileTried(error: unknown): unknown {
  if (!(error instanceof DeviceError) || error.code !== "device-lost") return error;
  const what =
    "It happened when kernels of our own were tried: `stepKernels: false` leaves them out.";
  return new DeviceError("device-lost", `${error.message} ${what}`, { cause: error });
}

/** Did the kernels fail for a reason that leaves the card as it was? */
export function isRefusal(error: unknown): error is Error {
  return REFUSALS.some((kind) => error instanceof kind);
}

/** What is said of it. */
export function withoutKernels({ message }: Error): string {
  return `Answers are computed by the operators of ONNX Runtime, not by kernels of our own: ${message}`;
}

/** The same of some numbers of chats. */
function withoutForms(slow: readonly StepTimes[]): string {
  const each = slow.map(
    ({ chats, kernelsMs, graphMs }) =>
      `${chats}: ${kernelsMs.toFixed(2)} ms, the operators ${graphMs.toFixed(2)} ms`,
  );
  return `Kernels of our own are not faster here for some numbers of chats, which are computed by the operators of ONNX Runtime (${each.join("; ")}).`;
}
