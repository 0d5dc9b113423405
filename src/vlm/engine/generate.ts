// One request from messages to text: pictures -> prompt -> features -> prefill -> decode.
// The loop and nothing else; each step is in the file named after it.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { GenerationDefaults } from "../checkpoint/generation-config.ts";
import { type ImageDecodeError, isVlmError } from "../errors.ts";
import type { ImageTensor, ImageTensorCache } from "../image/image-tensor.ts";
import type { ResolvedRequest } from "../options.ts";
import { AnswerFlow } from "../text/answer-flow.ts";
import { mropePositions } from "../text/position-ids.ts";
import { buildPrompt, type Prompt } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { ChatMessage, StreamPart } from "../vision-language-model.ts";
import type { DecoderBackend, KvSlot, PlacedFeatures, Scores } from "./decoder-backend.ts";
import { sliceInput } from "./decoder-input.ts";
import { Sampler } from "./sampler.ts";
import type { Scheduler } from "./scheduler.ts";
import { Stopwatch } from "./stopwatch.ts";
import type { VisionEncoder, VisionFeatures } from "./vision-encoder.ts";

/** The loaded parts of a model, as the loop uses them. */
export interface Engine {
  readonly config: Qwen3VlConfig;
  readonly generationDefaults: GenerationDefaults;
  readonly eosTokenIds: ReadonlySet<number>;
  readonly prefillChunkTokens: number;
  readonly tokenizer: Tokenizer;
  readonly images: ImageTensorCache;
  readonly visionEncoder: VisionEncoder;
  readonly decoder: DecoderBackend;
  /** Its capacity is the context: prompt and answer together. */
  readonly cache: KvSlot;
  readonly scheduler: Scheduler;
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
  engine: Engine,
  request: ResolvedRequest,
  push: (part: StreamPart) => void,
  signal: AbortSignal,
): Promise<void> {
  const watch = new Stopwatch();
  const pictures = await watch.time("imageMs", () => loadPictures(engine, request, signal));
  const prompt = buildPrompt(request.messages, {
    tokenizer: engine.tokenizer,
    imageTokens: pictures.tensors.map((tensor) => tensor.imageTokens),
    tools: request.tools,
    maxPromptTokens: maxPromptTokens(engine.cache.capacity, request.maxTokens),
  });
  const release = await watch.time("queueMs", () => engine.scheduler.enter(signal));
  try {
    const images = await watch.time("visionMs", () =>
      encodePictures(engine, prompt, pictures.tensors, signal),
    );
    const answer = await answerPrompt(engine, request, { prompt, images }, push, signal, watch);
    push({
      type: "finish",
      finishReason: answer.finishReason ?? "stop",
      ...(answer.reasoningCut ? { reasoningCut: true } : {}),
      ...(answer.repeatedCharacters > 0 ? { repeatedCharacters: answer.repeatedCharacters } : {}),
      usage: {
        promptTokens: prompt.ids.length,
        imageTokens: prompt.images.reduce((sum, image) => sum + image.length, 0),
        completionTokens: answer.completionTokens,
        reasoningTokens: answer.reasoningTokens,
        droppedTurns: prompt.droppedTurns,
      },
      timings: watch.read(),
      cache: { imageHits: pictures.hits, imageMisses: pictures.tensors.length - pictures.hits },
    });
  } finally {
    release();
  }
}

/** A picture at its place in the prompt. */
interface PlacedPicture extends PlacedFeatures {
  /** In tokens. */
  readonly rows: number;
  readonly columns: number;
}

/** Prefill, then one token after the other until something ends the answer. */
async function answerPrompt(
  engine: Engine,
  { sampling, stop, maxTokens, maxReasoningTokens }: ResolvedRequest,
  { prompt, images }: { readonly prompt: Prompt; readonly images: readonly PlacedPicture[] },
  push: (part: StreamPart) => void,
  signal: AbortSignal,
  watch: Stopwatch,
): Promise<AnswerFlow> {
  const { cache, decoder, tokenizer, config } = engine;
  const { ids } = prompt;
  const { positions, nextPosition } = mropePositions(ids.length, images);
  cache.truncate(0);
  let scores = await watch.time("prefillMs", async () => {
    let last: readonly Scores[] = [];
    for (let start = 0; start < ids.length; start += engine.prefillChunkTokens) {
      const end = Math.min(start + engine.prefillChunkTokens, ids.length);
      const chunk = sliceInput({ ids, positions, images }, start, end);
      last = await decoder.append(chunk, cache, { signal });
    }
    return last[0]!;
  });

  const sampler = new Sampler(sampling, Math.min(tokenizer.size, config.text.vocabSize), ids);
  const answer = new AnswerFlow({
    tokenizer,
    eosTokenIds: engine.eosTokenIds,
    stop,
    maxTokens,
    maxReasoningTokens,
    contextRoom: cache.capacity - ids.length,
  });
  await watch.time("decodeMs", async () => {
    for (;;) {
      const id = answer.due ?? sampler.sample(scores);
      for (const delta of answer.take(id)) push(delta);
      if (answer.finishReason !== undefined) break;
      sampler.accept(id);
      const position = nextPosition + answer.completionTokens - 1;
      scores = (await decoder.decode([{ slot: cache, id, position }], { signal }))[0]!;
    }
  });
  for (const delta of answer.end()) push(delta);
  return answer;
}

/** Every picture of the request as a tensor, in order of appearance. */
async function loadPictures(engine: Engine, request: ResolvedRequest, signal: AbortSignal) {
  const found = await Promise.all(
    request.messages.flatMap(picturesOf).map((data, imageIndex) =>
      engine.images.get(data, signal).catch((error: unknown) => {
        throw isImageDecodeError(error) ? error.at(imageIndex) : error;
      }),
    ),
  );
  return {
    tensors: found.map(({ tensor }) => tensor),
    hits: found.filter(({ hit }) => hit).length,
  };
}

/** The features of the pictures that are in the prompt, each different picture encoded once. */
async function encodePictures(
  engine: Engine,
  prompt: Prompt,
  tensors: readonly ImageTensor[],
  signal: AbortSignal,
): Promise<PlacedPicture[]> {
  const { mergeSize } = engine.config.vision;
  const featuresByKey = new Map<string, VisionFeatures>();
  const placed: PlacedPicture[] = [];
  for (const { imageIndex, start } of prompt.images) {
    const tensor = tensors[imageIndex]!;
    const features =
      featuresByKey.get(tensor.key) ?? (await engine.visionEncoder.encode(tensor, { signal }));
    featuresByKey.set(tensor.key, features);
    placed.push({
      start,
      features,
      rows: tensor.gridHeight / mergeSize,
      columns: tensor.gridWidth / mergeSize,
    });
  }
  return placed;
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
