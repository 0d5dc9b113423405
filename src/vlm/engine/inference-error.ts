// What callers of the engine see when a step fails.

import { InferenceError, type InferenceStage, isVlmError } from "../errors.ts";

/** Runs one step: aborts and errors made on purpose pass as they are, all others become an InferenceError. */
export async function atStage<T>(
  stage: InferenceStage,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    signal?.throwIfAborted();
    if (isVlmError(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InferenceError(stage, `The model failed in the ${stage} stage: ${reason}`, {
      cause: error,
    });
  }
}
