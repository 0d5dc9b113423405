// What the real libraries said, recorded in cuda-answers.json with the versions that said it. In: a situation. Out: the
// words of ONNX Runtime's CUDA provider in it; and all of them, with what they mean for a card.

import { readFileSync } from "node:fs";

export interface CudaAnswer {
  /** What was the matter. */
  readonly when: string;
  /** The function of ONNX Runtime that failed. */
  readonly call: string;
  readonly means: "memory" | "loss" | "other";
  readonly text: string;
}

/** An error of CUDA's runtime. */
export interface CudaRuntimeError {
  readonly code: number;
  readonly name: string;
  readonly text: string;
}

const recorded: {
  readonly onnxruntime: string;
  readonly answers: readonly CudaAnswer[];
  readonly errors: readonly CudaRuntimeError[];
} = JSON.parse(readFileSync(new URL("./cuda-answers.json", import.meta.url), "utf8"));

export const CUDA_ANSWERS = recorded.answers;
export const CUDA_ERRORS = recorded.errors;
/** Of which release they are. */
export const ANSWERS_VERSION = recorded.onnxruntime;

/** Its words. @throws RangeError when nothing of the kind was recorded */
export function cudaAnswer(when: string, call?: string): string {
  const found = CUDA_ANSWERS.find(
    (answer) => answer.when === when && (call === undefined || answer.call === call),
  );
  if (!found) throw new RangeError(`Nobody recorded what is said when ${when}`);
  return found.text;
}
