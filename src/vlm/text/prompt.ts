// A conversation becomes token ids.
// In: chat messages, and how many tokens each of their pictures takes. Out: ids and where the pictures lie among them.
// It knows no pixels, and it never looks for placeholders in finished text.

import { PromptTooLongError } from "../errors.ts";
import { TimeSlice } from "../event-loop/time-slice.ts";
import type { ChatMessage } from "../vision-language-model.ts";
import {
  type ChatFormatOptions,
  type Chunk,
  countImages,
  type FormattedChat,
  formatChat,
} from "./chat-format.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface PromptOptions
  extends Pick<ChatFormatOptions, "tools" | "addVisionIds" | "continueAnswer"> {
  readonly tokenizer: Pick<Tokenizer, "encodeText" | "findSpecial" | "specialId" | "thinking">;
  /** Tokens of each picture, or of each of its views, in order of appearance over all messages. */
  readonly imageTokens: readonly (number | readonly PromptView[])[];
  /** Leave out the oldest turns until the prompt has at most this many tokens. @default Infinity */
  readonly maxPromptTokens?: number | undefined;
}

/** One of several things that a picture shows: a frame, or a piece. */
export interface PromptView {
  readonly imageTokens: number;
  /** Text in front of it and behind it. */
  readonly before: string;
  readonly after: string;
}

/** The image tokens of one picture, or of one view of it, inside a prompt. */
export interface PromptImage {
  /** Which view of all pictures of the request, counted from 0, those of dropped turns included. */
  readonly imageIndex: number;
  /** Index of its first image token; `<|vision_start|>` stands in front of it. */
  readonly start: number;
  /** Image tokens. */
  readonly length: number;
}

export interface Prompt {
  /** (tokens) */
  readonly ids: Int32Array;
  /** In order of appearance. A picture that is not here was dropped and need not be encoded. */
  readonly images: readonly PromptImage[];
  /** Oldest turns left out. A turn is a user message and everything up to the next one. */
  readonly droppedTurns: number;
}

/**
 * Writes a conversation as the token ids the model was trained on.
 *
 * Marks of the chat format become their ids; the text between two marks is encoded in one run with special tokens switched off.
 * The system prompt, the tools and the newest turn always stay.
 * @throws {@link PromptTooLongError} if they alone are longer than `maxPromptTokens`.
 * @throws RangeError if `imageTokens` does not fit the messages.
 */
export function buildPrompt(messages: readonly ChatMessage[], options: PromptOptions): Prompt {
  const work = writePrompt(messages, options);
  let step = work.next();
  while (!step.done) step = work.next(options.tokenizer.encodeText(step.value));
  return step.value;
}

/**
 * {@link buildPrompt} without holding up the event loop, however long the texts are.
 *
 * @throws the signal's reason when it aborts
 */
export async function buildPromptInSlices(
  messages: readonly ChatMessage[],
  options: PromptOptions & { readonly tokenizer: Pick<Tokenizer, "encodeTextInSlices"> },
  signal?: AbortSignal,
): Promise<Prompt> {
  const slice = new TimeSlice(signal);
  const work = writePrompt(messages, options);
  let step = work.next();
  while (!step.done) {
    step = work.next(await options.tokenizer.encodeTextInSlices(step.value, slice));
    if (slice.over) await slice.rest();
  }
  return step.value;
}

/** Yields every text that is to be encoded and goes on with its ids. */
type Encoding<T> = Generator<string, T, readonly number[]>;

function* writePrompt(messages: readonly ChatMessage[], options: PromptOptions): Encoding<Prompt> {
  checkImageTokens(options.imageTokens, countImages(messages));

  const { thinking } = options.tokenizer;
  const turns = turnStarts(messages);
  const whole = formatChat(messages, { ...options, thinking });
  const droppedTurns = inSteps(yield* oldestTurnThatFits(whole, turns, options), turns.length);
  const firstMessage = turns[droppedTurns];
  const chat = formatChat(messages, { ...options, thinking, firstMessage });

  const writer = new TokenWriter(options);
  yield* writer.write([...chat.preamble, ...chat.messages.flat(), ...chat.generationPrompt]);
  return { ids: Int32Array.from(writer.ids), images: writer.images, droppedTurns };
}

/** Index of the first message of each turn. What comes before the first question, but for the system prompt, is a turn. */
function turnStarts(messages: readonly ChatMessage[]): number[] {
  const first = messages[0]?.role === "system" ? 1 : 0;
  return messages.flatMap(({ role }, index) =>
    index === first || (index > first && role === "user") ? [index] : [],
  );
}

/**
 * The oldest turn that can stay, found from the newest backwards, so that no more is encoded than can stay.
 * Picture numbers are counted as if nothing were dropped: once something is, they can only get shorter.
 */
function* oldestTurnThatFits(
  chat: FormattedChat,
  turns: readonly number[],
  options: PromptOptions,
): Encoding<number> {
  const { maxPromptTokens = Number.POSITIVE_INFINITY } = options;
  const count = function* (chunks: readonly Chunk[]): Encoding<number> {
    const writer = new TokenWriter(options);
    yield* writer.write(chunks);
    return writer.ids.length;
  };
  let total = (yield* count(chat.preamble)) + (yield* count(chat.generationPrompt));
  const newest = turns.length - 1;
  for (let turn = newest; turn >= 0; turn--) {
    total += yield* count(chat.messages.slice(turns[turn], turns[turn + 1]).flat());
    if (total > maxPromptTokens && turn < newest) return turn + 1;
    if (total > maxPromptTokens) break;
  }
  if (total > maxPromptTokens) throw new PromptTooLongError(total, maxPromptTokens);
  return 0;
}

/**
 * Drops a few turns of a long history at once instead of one with every question: as long as its beginning stays the same,
 * what was computed for it can be used again. Up to a quarter of what would fit goes earlier than it has to.
 */
function inSteps(droppedTurns: number, turns: number): number {
  const kept = turns - droppedTurns;
  // A power of two: the steps of a history that grows lie on each other.
  const step = 2 ** Math.floor(Math.log2(Math.max(1, kept / 4)));
  return Math.ceil(droppedTurns / step) * step;
}

/** Chunks to ids: gathers words until a mark comes, then encodes them together. */
class TokenWriter {
  readonly ids: number[] = [];
  readonly images: PromptImage[] = [];
  readonly #tokenizer: PromptOptions["tokenizer"];
  /** Of each picture, its views, each with its number among all of them. */
  readonly #pictures: readonly (readonly (PromptView & { readonly imageIndex: number })[])[];

  constructor({ tokenizer, imageTokens }: Pick<PromptOptions, "tokenizer" | "imageTokens">) {
    this.#tokenizer = tokenizer;
    let imageIndex = 0;
    this.#pictures = imageTokens.map((picture) =>
      viewsOf(picture).map((view) => ({ ...view, imageIndex: imageIndex++ })),
    );
  }

  *write(chunks: readonly Chunk[]): Encoding<void> {
    const tokenizer = this.#tokenizer;
    let words = "";
    const ids = this.ids;
    const endWords = function* (): Encoding<void> {
      if (words !== "") for (const id of yield words) ids.push(id);
      words = "";
    };
    for (const chunk of chunks) {
      if (typeof chunk === "string") {
        words += chunk;
      } else if ("mark" in chunk) {
        const id = tokenizer.findSpecial(chunk.mark);
        if (id === undefined) {
          // An older vocabulary spells `<think>` or `<tool_response>` with ordinary tokens.
          words += chunk.mark;
        } else {
          yield* endWords();
          this.ids.push(id);
        }
      } else {
        for (const view of this.#pictures[chunk.imageIndex]!) {
          words += view.before;
          yield* endWords();
          this.#writeImage(view.imageIndex, view.imageTokens);
          words += view.after;
        }
      }
    }
    yield* endWords();
  }

  #writeImage(imageIndex: number, length: number): void {
    const tokenizer = this.#tokenizer;
    const pad = tokenizer.specialId("<|image_pad|>");
    this.ids.push(tokenizer.specialId("<|vision_start|>"));
    this.images.push({ imageIndex, start: this.ids.length, length });
    for (let i = 0; i < length; i++) this.ids.push(pad);
    this.ids.push(tokenizer.specialId("<|vision_end|>"));
  }
}

function viewsOf(picture: number | readonly PromptView[]): readonly PromptView[] {
  return typeof picture === "number" ? [{ imageTokens: picture, before: "", after: "" }] : picture;
}

function checkImageTokens(imageTokens: PromptOptions["imageTokens"], images: number): void {
  if (imageTokens.length !== images) {
    throw new RangeError(
      `Expected \`imageTokens\` to have one entry for each of ${images} pictures, got ${imageTokens.length}.`,
    );
  }
  const all = imageTokens.flatMap((picture) => viewsOf(picture).map((view) => view.imageTokens));
  const wrong = all.find((tokens) => !Number.isSafeInteger(tokens) || tokens < 1);
  if (wrong !== undefined) {
    throw new RangeError(`Expected \`imageTokens\` to hold integers >= 1, got \`${wrong}\`.`);
  }
}
