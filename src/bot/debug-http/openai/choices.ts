// Several answers to one question, written side by side: what is computed of the prompt, and of its pictures, is computed
// once and shared. In: a model, a question, how many. Out: whole answers, or their parts as they come, each with its number.

import { type Deadline, startDeadline } from "../../../abort.ts";
import type {
  GenerateRequest,
  GenerateResult,
  StreamPart,
  VisionLanguageModel,
} from "../../../vlm/index.ts";

/** As many as one question may have. */
export const MOST_CHOICES = 8;

export interface Choices {
  readonly model: VisionLanguageModel;
  readonly question: GenerateRequest;
  readonly count: number;
  /** Tells the question from others: all of its answers are one chat's, which lets others have their turn. */
  readonly id: string;
}

export interface ChoicePart {
  /** From 0. */
  readonly index: number;
  readonly part: StreamPart;
}

/** All of them, or the first failure, which ends the others. */
export async function answerChoices(choices: Choices): Promise<readonly GenerateResult[]> {
  const stop = startDeadline(undefined, choices.question.signal);
  try {
    const work = questionsOf(choices, stop).map((question) => choices.model.generate(question));
    return await firstFailure(work, stop);
  } finally {
    stop.end();
  }
}

/** Leaving early ends all of them; so does the first failure, which comes behind the parts that were there before it. */
export async function* streamChoices(choices: Choices): AsyncGenerator<ChoicePart, void, void> {
  const stop = startDeadline(undefined, choices.question.signal);
  const arrived: ChoicePart[] = [];
  let wake = () => {};
  let end: { readonly failure?: unknown } | undefined;
  const work = questionsOf(choices, stop).map(async (question, index) => {
    for await (const part of choices.model.stream(question)) {
      arrived.push({ index, part });
      wake();
    }
  });
  void firstFailure(work, stop)
    .then(
      () => {
        end = {};
      },
      (failure: unknown) => {
        end = { failure };
      },
    )
    .finally(() => wake());
  try {
    for (;;) {
      const next = arrived.shift();
      if (next) yield next;
      else if (end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else if ("failure" in end) throw end.failure;
      else return;
    }
  } finally {
    if (end) stop.end();
    else stop.abort(new DOMException("Nobody reads the answers any more.", "AbortError"));
  }
}

function questionsOf({ question, count, id }: Choices, { signal }: Deadline): GenerateRequest[] {
  if (count === 1) return [{ ...question, signal }];
  return Array.from({ length: count }, (_, index) => {
    return { ...question, ...seedOf(question, index), chat: id, signal };
  });
}

/** Each has a seed of its own; the first has the one that was asked for. */
function seedOf({ seed }: GenerateRequest, index: number): Pick<GenerateRequest, "seed"> {
  return seed === undefined ? {} : { seed: (seed + index) % Number.MAX_SAFE_INTEGER };
}

/** @throws what failed first, with which all others are aborted; they have ended by then */
async function firstFailure<T>(work: readonly Promise<T>[], stop: Deadline): Promise<T[]> {
  try {
    return await Promise.all(work);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(work);
    throw error;
  }
}
