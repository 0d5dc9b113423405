// A model without weights, to test whatever talks to one. In: scripted answers. Out: the parts a real model streams.
// Published as `napcat-vlm/vlm/testing`; needs no ONNX Runtime and no files.

import { eachUntilAborted, sharedController, startDeadline, untilAborted } from "../abort.ts";
import { collectStream } from "./collect.ts";
import { DisposedError } from "./errors.ts";
import type {
  ChatMessage,
  DecideQuestion,
  DecideRequest,
  DecideResult,
  Decision,
  GenerateRequest,
  GenerateResult,
  ModelHealth,
  ModelInfo,
  StreamPart,
  VisionLanguageModel,
} from "./vision-language-model.ts";

/** What the fake writes; calls of tools come last. */
export interface ScriptedAnswer {
  readonly text?: string;
  readonly reasoning?: string;
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: object }[];
}

/** One scripted answer: its text, an error to throw, or the very parts to stream. */
export type FakeAnswer = string | Error | ScriptedAnswer | AsyncIterable<StreamPart>;

/** The same answer for every request, a list with one answer for each request, or a function of the request. */
export type FakeAnswers =
  | FakeAnswer
  | readonly FakeAnswer[]
  | ((request: GenerateRequest, index: number) => FakeAnswer | Promise<FakeAnswer>);

export interface FakeVisionLanguageModelOptions {
  /** @default "好的。" */
  readonly answer?: FakeAnswers;
  readonly info?: Partial<ModelInfo>;
  /** What `health()` says until it is disposed. @default ready, nothing lost */
  readonly health?: () => ModelHealth;
  /** What it decides; left out: it has no `decide`, like a model that shows no scores. */
  readonly decision?: (question: DecideQuestion, request: DecideRequest) => Decision;
}

/**
 * A {@link VisionLanguageModel} that answers from a script and remembers what it was asked.
 *
 * @example
 * const model = new FakeVisionLanguageModel({ answer: "一只猫。" });
 * installVlm(napcat, { model });
 * expect(model.requests[0].messages).toMatchObject([{ role: "user" }]);
 */
export class FakeVisionLanguageModel implements VisionLanguageModel {
  readonly info: ModelInfo;
  /** Every request, in the order they came. */
  readonly requests: GenerateRequest[] = [];
  /** Every request to decide, in the order they came. */
  readonly decideRequests: DecideRequest[] = [];
  readonly decide?: NonNullable<VisionLanguageModel["decide"]>;
  readonly #answer: FakeAnswers;
  readonly #health: () => ModelHealth;
  readonly #disposal = sharedController();

  constructor(options: FakeVisionLanguageModelOptions = {}) {
    this.#answer = options.answer ?? "好的。";
    if (options.decision) this.decide = decider(options.decision, this.decideRequests);
    this.#health = options.health ?? (() => ({ state: "ready", losses: 0 }));
    this.info = {
      name: "fake",
      device: "cpu",
      contextTokens: 4096,
      thinking: false,
      ...options.info,
    };
  }

  get disposed(): boolean {
    return this.#disposal.signal.aborted;
  }

  health(): ModelHealth {
    return this.disposed ? { state: "disposed" } : this.#health();
  }

  async *stream(request: GenerateRequest): AsyncGenerator<StreamPart> {
    const stop = startDeadline(undefined, request.signal, this.#disposal.signal);
    try {
      stop.signal.throwIfAborted();
      yield* this.#answerParts(request, stop.signal);
    } finally {
      stop.end();
    }
  }

  async *#answerParts(request: GenerateRequest, stopped: AbortSignal): AsyncGenerator<StreamPart> {
    const index = this.requests.push(request) - 1;
    const answer = await untilAborted(this.#answerTo(request, index), stopped);
    if (answer instanceof Error) throw answer;
    const parts = isStream(answer)
      ? answer
      : scriptedParts(typeof answer === "string" ? { text: answer } : answer, request);
    yield* eachUntilAborted(parts, stopped);
  }

  generate(request: GenerateRequest): Promise<GenerateResult> {
    return collectStream(this.stream(request));
  }

  async dispose(): Promise<void> {
    this.#disposal.abort(new DisposedError("The fake model"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #answerTo(request: GenerateRequest, index: number): Promise<FakeAnswer> {
    const answers = this.#answer;
    if (typeof answers === "function") return answers(request, index);
    if (!isList(answers)) return answers;
    const answer = answers[index];
    if (answer === undefined) {
      throw new Error(
        `The fake model has ${answers.length} scripted answers and was asked for answer ${index + 1}.`,
      );
    }
    return answer;
  }
}

function decider(
  decision: NonNullable<FakeVisionLanguageModelOptions["decision"]>,
  requests: DecideRequest[],
): NonNullable<VisionLanguageModel["decide"]> {
  return async <const Q extends readonly DecideQuestion[]>(request: DecideRequest<Q>) => {
    requests.push(request);
    request.signal?.throwIfAborted();
    const decisions: readonly Decision[] = request.questions.map((question) =>
      decision(question, request),
    );
    return { decisions: decisions as DecideResult<Q>["decisions"] };
  };
}

/** The parts a model would stream for this answer: deltas of a few characters, then the finish. */
async function* scriptedParts(
  { text: written = "", reasoning = "", toolCalls: calls = [] }: ScriptedAnswer,
  request: GenerateRequest,
): AsyncGenerator<StreamPart> {
  const toolCalls = request.parallelToolCalls === false ? calls.slice(0, 1) : calls;
  for (const text of pieces(reasoning)) yield { type: "reasoning-delta", text };
  for (const text of pieces(written)) yield { type: "text-delta", text };
  for (const [index, call] of toolCalls.entries()) {
    const { name, arguments: given } = call;
    yield { type: "tool-call", id: `call_${index}`, name, arguments: JSON.stringify(given) };
  }
  const images = request.messages.reduce((sum, message) => sum + imageCount(message), 0);
  const reasoningTokens = pieces(reasoning).length;
  yield {
    type: "finish",
    finishReason: toolCalls.length > 0 ? "tool-calls" : "stop",
    usage: {
      promptTokens: request.messages.length,
      imageTokens: images,
      completionTokens: reasoningTokens + pieces(written).length,
      reasoningTokens,
      droppedTurns: 0,
    },
    timings: { queueMs: 0, imageMs: 0, visionMs: 0, prefillMs: 0, decodeMs: 0, totalMs: 0 },
    cache: { imageHits: 0, imageMisses: images },
  };
}

function pieces(text: string): string[] {
  return text.match(/.{1,4}/gsu) ?? [];
}

function imageCount(message: ChatMessage): number {
  if (typeof message.content === "string") return 0;
  return message.content.filter((part) => part.type === "image").length;
}

function isList(answers: FakeAnswers): answers is readonly FakeAnswer[] {
  return Array.isArray(answers);
}

function isStream(answer: Exclude<FakeAnswer, Error>): answer is AsyncIterable<StreamPart> {
  return typeof answer === "object" && Symbol.asyncIterator in answer;
}
