// One request from messages to text: pictures -> prompt -> a sequence in the engine -> finish.
// Each step is in the file named after it.

import type { Deadline } from "../../abort.ts";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { GenerationDefaults } from "../checkpoint/generation-config.ts";
import type { ResponseFormats } from "../constrain/response-format.ts";
import { type ImageDecodeError, isVlmError } from "../errors.ts";
import { contentHash, type ImageTensorCache, type TensorView } from "../image/image-tensor.ts";
import type { ResolvedPrompt, ResolvedRequest } from "../request-options.ts";
import { buildPromptInSlices, type Prompt } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { knownTools } from "../text/tool-call-text.ts";
import type {
  CacheUse,
  ChatMessage,
  ForgetRequest,
  ForgetResult,
  StreamPart,
} from "../vision-language-model.ts";
import { Answer } from "./answer.ts";
import { askedForm } from "./asked-form.ts";
import type { Engine } from "./engine.ts";
import { type PlacedPicture, Sequence } from "./sequence.ts";
import { Stopwatch } from "./stopwatch.ts";

/** The loaded parts of a model, as a request uses them. */
export interface ModelParts {
  readonly config: Qwen3VlConfig;
  readonly generationDefaults: GenerationDefaults;
  readonly eosTokenIds: ReadonlySet<number>;
  readonly tokenizer: Tokenizer;
  readonly images: ImageTensorCache;
  readonly formats: ResponseFormats;
  /** Most tokens of prompt and answer together. */
  readonly contextTokens: number;
  readonly engine: Engine;
}

/** Part of the context that a prompt leaves free for the answer, unless `maxTokens` is less. */
const ANSWER_SHARE = 1 / 4;

/**
 * Answers one request, pushing parts as they come; the last one is the finish.
 *
 * @throws ImageDecodeError, with `imageIndex`, before anything is computed
 * @throws PromptTooLongError, QueueFullError, InferenceError
 * @throws the signal's reason when it aborts
 */
export async function generate(
  model: ModelParts,
  request: ResolvedRequest,
  push: (part: StreamPart) => void,
  stop: Deadline,
): Promise<void> {
  const watch = new Stopwatch();
  model.engine.expectRoom();
  const form = await askedForm(model, request, stop.signal);
  const asked = withoutThought(model, request);
  const { prompt, pictures, placed } = await readRequest(model, asked, watch, stop.signal);
  const answer = new Answer({
    ...request,
    begun: asked.continueAnswer ?? false,
    tools: knownTools(request.tools),
    ...form,
    tokenizer: model.tokenizer,
    eosTokenIds: model.eosTokenIds,
    vocabSize: model.config.text.vocabSize,
    contextTokens: model.contextTokens,
    promptIds: prompt.ids,
    push,
  });
  const sequence = new Sequence({
    ids: prompt.ids,
    pictures: placed,
    reader: answer,
    chat: request.chat,
    priority: request.priority,
    onQueue: guarded(request.onQueue, stop),
    signal: stop.signal,
    watch,
  });
  await model.engine.run(sequence);
  push({
    type: "finish",
    finishReason: answer.flow.finishReason ?? "stop",
    ...(answer.flow.incomplete ? { incomplete: true } : {}),
    ...(answer.flow.reasoningCut ? { reasoningCut: true } : {}),
    ...(answer.flow.repeatedCharacters > 0
      ? { repeatedCharacters: answer.flow.repeatedCharacters }
      : {}),
    ...(answer.logprobs ? { logprobs: answer.logprobs } : {}),
    usage: {
      promptTokens: prompt.ids.length,
      imageTokens: prompt.images.reduce((sum, image) => sum + image.length, 0),
      completionTokens: answer.flow.completionTokens,
      reasoningTokens: answer.flow.reasoningTokens,
      droppedTurns: prompt.droppedTurns,
    },
    timings: watch.read(),
    cache: cacheUse(sequence, pictures),
  });
}

/** A thought that may have no token is closed in the prompt, as the chat template writes an empty one. */
export function withoutThought<T extends ResolvedPrompt & { readonly maxReasoningTokens: number }>(
  { tokenizer }: Pick<ModelParts, "tokenizer">,
  request: T,
): T {
  const { maxReasoningTokens, continueAnswer, messages } = request;
  if (!tokenizer.thinking || maxReasoningTokens > 0 || continueAnswer) return request;
  const begun = { role: "assistant", content: "" } as const;
  return { ...request, messages: [...messages, begun], continueAnswer: true };
}

/**
 * Computes the pictures and the prompt of a request that will probably come, for the caches alone.
 *
 * @throws as {@link generate} does
 */
export async function warm(
  model: ModelParts,
  request: ResolvedPrompt,
  { signal }: Deadline,
): Promise<void> {
  const watch = new Stopwatch();
  const { prompt, placed } = await readRequest(model, request, watch, signal);
  const { chat } = request;
  const waiting = { ids: prompt.ids, pictures: placed, chat, priority: 0, signal, watch };
  await model.engine.run(new Sequence(waiting));
}

/** Takes back what is kept of pictures or of a chat: pixels, features, keys and values. */
export async function forget(
  { engine, images }: ModelParts,
  { images: pictures = [], chat }: ForgetRequest,
): Promise<ForgetResult> {
  const hashes = await Promise.all(
    pictures.map((picture) => (typeof picture === "string" ? picture : contentHash(picture))),
  );
  const what = { picture: (key: string) => hashes.some((hash) => key.startsWith(hash)), chat };
  const { bytes } = engine.forget(what);
  return { bytes: bytes + images.forget(what) };
}

interface LoadedPictures {
  /** Every picture of the request in order of appearance, each with its views. */
  readonly views: readonly (readonly TensorView[])[];
  readonly hits: number;
}

/** @param whole one view of each picture, whatever it shows */
export async function readRequest(
  model: ModelParts,
  request: ResolvedPrompt,
  watch: Stopwatch,
  signal: AbortSignal,
  whole = false,
): Promise<{ prompt: Prompt; pictures: LoadedPictures; placed: PlacedPicture[] }> {
  watch.begin("imageMs");
  const { prompt, pictures } = await writePrompt(model, request, signal, whole);
  const { mergeSize } = model.config.vision;
  const tensors = pictures.views.flat().map(({ tensor }) => tensor);
  const placed = prompt.images.map(({ imageIndex, start }) => {
    const tensor = tensors[imageIndex]!;
    const rows = tensor.gridHeight / mergeSize;
    return { start, rows, columns: tensor.gridWidth / mergeSize, tensor };
  });
  return { prompt, pictures, placed };
}

/** The prompt with everything that its pictures show or, where that is too much for the context, with one view of each. */
async function writePrompt(
  model: ModelParts,
  request: ResolvedPrompt,
  signal: AbortSignal,
  asWhole: boolean,
): Promise<{ prompt: Prompt; pictures: LoadedPictures }> {
  const write = (pictures: LoadedPictures): Promise<Prompt> => {
    const imageTokens = pictures.views.map((views) =>
      views.map(({ tensor, ...view }) => ({ ...view, imageTokens: tensor.imageTokens })),
    );
    const options = {
      tokenizer: model.tokenizer,
      imageTokens,
      tools: request.tools,
      continueAnswer: request.continueAnswer,
      maxPromptTokens: maxPromptTokens(model.contextTokens, request.maxTokens),
    };
    return buildPromptInSlices(request.messages, options, signal);
  };
  const pictures = await loadPictures(model, request, signal, asWhole);
  try {
    return { prompt: await write(pictures), pictures };
  } catch (error) {
    const isTooLong = isVlmError(error) && error.name === "PromptTooLongError";
    if (!isTooLong || pictures.views.every((views) => views.length === 1)) throw error;
    const whole = await loadPictures(model, request, signal, true);
    return { prompt: await write(whole), pictures: whole };
  }
}

/** Every picture of the request as tensors, in order of appearance. */
async function loadPictures(
  { images }: ModelParts,
  request: ResolvedPrompt,
  signal: AbortSignal,
  whole = false,
): Promise<LoadedPictures> {
  const found = await Promise.all(
    request.messages.flatMap(picturesOf).map((data, imageIndex) =>
      images.get(data, signal, request.chat, whole).catch((error: unknown) => {
        throw isImageDecodeError(error) ? error.at(imageIndex) : error;
      }),
    ),
  );
  return {
    views: found.map(({ views }) => views),
    hits: found.filter(({ hit }) => hit).length,
  };
}

function cacheUse(sequence: Sequence, { views, hits }: LoadedPictures): CacheUse {
  const encoded = sequence.encodedPictures;
  return {
    imageHits: hits,
    imageMisses: views.length - hits,
    visionHits: sequence.pictures.length - encoded,
    visionMisses: encoded,
    promptTokens: sequence.reusedTokens,
  };
}

/** A listener whose failure is a failure of its request, not of the loop that calls it. */
function guarded(
  listener: ((position: number) => void) | undefined,
  stop: Deadline,
): ((position: number) => void) | undefined {
  if (!listener) return undefined;
  return (position) => {
    try {
      listener(position);
    } catch (error) {
      stop.abort(error);
    }
  };
}

function maxPromptTokens(contextTokens: number, maxTokens: number): number {
  return contextTokens - Math.min(maxTokens, Math.ceil(contextTokens * ANSWER_SHARE));
}

function picturesOf(message: ChatMessage): Uint8Array[] {
  if (typeof message.content === "string") return [];
  return message.content.flatMap((part) => (part.type === "image" ? [part.data] : []));
}

function isImageDecodeError(error: unknown): error is ImageDecodeError {
  return isVlmError(error) && error.name === "ImageDecodeError";
}
