// Steps of a few chats on an NVIDIA card by kernels of our own (step-kernels.cu), in the place of the decoder's graph: the
// same weights, the same slots, the same candidates. In: a token of each chat. Out: candidates. It knows nothing of
// prompts, which are the graph's affair; whether it is right is for its owner to find out.

import { readFile } from "node:fs/promises";
import type { TextConfig } from "../checkpoint/config.ts";
import type { CudaDevice } from "../runtime/cuda-device.ts";
import { CudaKernels, cardLimits } from "../runtime/cuda-kernels.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import { StepForm, type StepPlace, type StepRow, type StepScores } from "./step-form.ts";
import { planSteps, type StepPlan, type StepWeights } from "./step-plan.ts";
import { StepScratch } from "./step-scratch.ts";

/** The kernels in all their forms, and memory for the steps of one model. */
export class StepKernels {
  readonly #forms: readonly StepForm[];
  readonly #scratch: StepScratch;

  private constructor(forms: readonly StepForm[], scratch: StepScratch) {
    this.#forms = forms;
    this.#scratch = scratch;
  }

  /**
   * @param mostChats that ever take a step together
   * @throws CompilerError, KernelError, StepPlanError where the card or the machine cannot have it; DeviceError `device-memory`
   */
  static async create(
    card: CudaDevice,
    memory: DeviceMemory,
    text: TextConfig,
    weights: StepWeights,
    mostChats: number,
  ): Promise<StepKernels> {
    const limits = await cardLimits(card);
    const program = await readFile(new URL("./step-kernels.cu", import.meta.url), "utf8");
    const plans = planSteps(text, weights.bits, limits, mostChats);
    const programs = await loadPrograms(card, program, plans);
    const forms: StepForm[] = [];
    let scratch: StepScratch | undefined;
    try {
      scratch = await StepScratch.create(memory, text, plans.at(-1)!.rows);
      for (const [index, plan] of plans.entries()) {
        const kernels = programs[index]!;
        const tools = { memory, card, kernels, scratch, weights: weights.values };
        forms.push(await StepForm.create(plan, tools));
      }
      return new StepKernels(forms, scratch);
    } catch (error) {
      for (const form of forms) await form.dispose();
      for (const unused of programs.slice(forms.length)) await unused.dispose();
      scratch?.dispose();
      throw error;
    }
  }

  /** The form that takes a step of so many chats; undefined where none has room. */
  formFor(chats: number): number | undefined {
    return this.forms.find((rows) => rows >= chats);
  }

  /** Most chats of each form, ascending. */
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

/** Seconds each, once for every model and card; the compiler may take several at once. All of them, or none. */
async function loadPrograms(
  card: CudaDevice,
  text: string,
  plans: readonly StepPlan[],
): Promise<readonly CudaKernels[]> {
  const loading = plans.map(({ constants }) => CudaKernels.load(card, { text, constants }));
  try {
    return await Promise.all(loading);
  } catch (error) {
    for (const one of await Promise.allSettled(loading)) {
      if (one.status === "fulfilled") await one.value.dispose();
    }
    throw error;
  }
}
