// One request, timed from outside as a bot would see it. In: a model and messages. Out: when each piece of the
// answer came, and what the model itself says about its time.

import type { FinishPart, GenerateRequest, VisionLanguageModel } from "../../vlm/index.ts";

export interface Answer {
  /** Milliseconds from the request to the first word. */
  readonly firstMs: number;
  /** When each piece of text came, in milliseconds of `performance.now()`. */
  readonly times: readonly number[];
  readonly finish: FinishPart;
  readonly text: string;
}

/** Greedy answers of random weights run in circles; drawn ones do not. */
const SEED = 6;

export async function ask(
  model: VisionLanguageModel,
  request: Pick<GenerateRequest, "messages" | "maxTokens"> & { readonly signal: AbortSignal },
): Promise<Answer> {
  const start = performance.now();
  const times: number[] = [];
  let text = "";
  let finish: FinishPart | undefined;
  for await (const part of model.stream({ ...request, seed: SEED })) {
    if (part.type === "finish") {
      finish = part;
      continue;
    }
    if (part.type === "tool-call") continue;
    times.push(performance.now());
    text += part.text;
  }
  if (finish === undefined) throw new Error("The stream ended without a finish part.");
  if (times.length === 0) throw new Error("The answer has no text.");
  return { firstMs: times[0]! - start, times, finish, text };
}

/** Milliseconds between the pieces of an answer. */
export function stepsOf({ times }: Answer): number[] {
  return times.slice(1).map((time, index) => time - times[index]!);
}
