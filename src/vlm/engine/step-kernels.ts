// Steps of a few chats on an NVIDIA card by kernels of our own (step-kernels.cu), in the place of the decoder's graph: the
// same weights, the same slots, the same candidates. In: a token of each chat. Out: candidates. It knows nothing of
// prompts, which are the graph's affair; whether it is right is for its owner to find out.

import { readFile } from "node:fs/promises";
import type { TextConfig } from "../checkpoint/config.ts";
import type { CudaDevice } from "../runtime/cuda-device.ts";
import { CudaKernels, cardLimits } from "../runtime/cuda-kernels.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import { StepForm, type StepPlace, type StepRow, type StepScores } from "./step-form.ts";
import { StepPlan, type StepWeights } from "./step-plan.ts";
import { StepScratch } from "./step-scratch.ts";

/**
 * Chats of a step; numbers in between take the next larger form, with rows that nobody is in. Each is compiled by itself,
 * one after the other: that takes four seconds each, once for every model and card.
 */
const FORMS = [1, 4, 8];

/** The kernels in all their forms, and memory for the steps of one model. */
export class StepKernels {
  readonly #forms: readonly StepForm[];
  readonly #scratch: StepScratch;

  private constructor(forms: readonly StepForm[], scratch: StepScratch) {
    this.#forms = forms;
    this.#scratch = scratch;
  }

  /**
   * @throws CompilerError, KernelError where the card or the machine cannot have it; DeviceError `device-memory`
   */
  static async create(
    card: CudaDevice,
    memory: DeviceMemory,
    text: TextConfig,
    weights: StepWeights,
  ): Promise<StepKernels> {
    const limits = await cardLimits(card);
    const program = await readFile(new URL("./step-kernels.cu", import.meta.url), "utf8");
    const plans = FORMS.map((rows) => new StepPlan(text, weights.bits, rows, limits)).filter(
      ({ fits }) => fits,
    );
    const kernels = await Promise.all(
      plans.map(({ constants }) => CudaKernels.load(card, { text: program, constants })),
    );
    const most = plans.at(-1)?.rows ?? 0;
    const scratch = await StepScratch.create(memory, text, most);
    const forms: StepForm[] = [];
    for (const [index, plan] of plans.entries()) {
      const tools = { memory, card, kernels: kernels[index]!, scratch, weights: weights.values };
      forms.push(await StepForm.create(plan, tools));
    }
    return new StepKernels(forms, scratch);
  }

  /** Most chats of a step. */
  get mostRows(): number {
    return this.forms.at(-1) ?? 0;
  }

  /** Numbers of chats that have a form of their own. */
  get forms(): readonly number[] {
    return this.#forms.map(({ rows }) => rows);
  }

  /** Appends one token to each chat. */
  async step(rows: readonly StepRow[], place: StepPlace): Promise<StepScores> {
    const form = this.#forms.find((candidate) => candidate.rows >= rows.length)!;
    return form.step(rows, place);
  }

  async dispose(): Promise<void> {
    for (const form of this.#forms) await form.dispose();
    this.#scratch.dispose();
  }
}
