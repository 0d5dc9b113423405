// What of a model's output is its answer, whatever model it is: thoughts, imitated names and endless copies are not.
// In: the parts of one stream. Out: what may be shown, and the whole reply at the end. It knows no chat and calls no model.

import {
  type FinishPart,
  LeadingThought,
  type StreamPart,
  TextRepetition,
  type ToolCallPart,
} from "../../vlm/index.ts";
import { AnswerStart, type SeenNames } from "./answer-start.ts";

/** A piece of an answer that is being written. */
export type ReplyPart = Exclude<StreamPart, FinishPart | ToolCallPart>;

/** A whole answer. `text` is empty when the model had nothing to say. */
export interface Reply {
  readonly text: string;
  readonly reasoning: string;
  readonly result: Omit<FinishPart, "type">;
}

/** Gathers one answer. */
export class AnswerText {
  readonly #thought = new LeadingThought();
  readonly #start: AnswerStart;
  readonly #repetition = new TextRepetition();
  #text = "";
  #reasoning = "";
  #pieces = 0;
  #repeated = 0;

  constructor(names: SeenNames) {
    this.#start = new AnswerStart(names);
  }

  /** The same words come again and again: there is no use in waiting for more. */
  get repeats(): boolean {
    return this.#repeated > 0;
  }

  /** Takes the next part and returns what may be shown of it. */
  async push(part: ReplyPart): Promise<readonly ReplyPart[]> {
    this.#pieces++;
    const split = part.type === "text-delta" ? this.#thought.push(part.text) : [part];
    return this.#show(split);
  }

  /** The reply. Without a finish part the answer was broken off, because it repeats itself. */
  async finish(
    part: FinishPart | undefined,
  ): Promise<{ shown: readonly ReplyPart[]; reply: Reply }> {
    const shown = this.repeats ? [] : await this.#rest();
    const { type: _, repeatedCharacters = 0, ...result } = part ?? brokenOff(this.#pieces);
    // What was found in this very text counts; a model can also have seen a loop in its tokens alone.
    const excess = this.#repeated || Math.min(repeatedCharacters, this.#text.length);
    return {
      shown,
      reply: {
        text: this.#text.slice(0, this.#text.length - excess),
        reasoning: this.#reasoning,
        result: this.repeats ? { ...result, finishReason: "repetition" } : result,
      },
    };
  }

  async #rest(): Promise<readonly ReplyPart[]> {
    const shown = await this.#show(this.#thought.end());
    const held = this.#start.end();
    this.#text += held;
    return held === "" ? shown : [...shown, { type: "text-delta", text: held }];
  }

  async #show(parts: readonly ReplyPart[]): Promise<readonly ReplyPart[]> {
    const shown: ReplyPart[] = [];
    for (const part of parts) {
      if (part.type === "reasoning-delta") {
        this.#reasoning += part.text;
        shown.push(part);
        continue;
      }
      const text = this.repeats ? "" : await this.#start.push(part.text);
      if (text === "") continue;
      this.#text += text;
      this.#repeated = this.#repetition.push(text);
      shown.push({ ...part, text });
    }
    return shown;
  }
}

/** All that is known of an answer that was not read to its end: a piece is a token at least. */
function brokenOff(pieces: number): FinishPart {
  return {
    type: "finish",
    finishReason: "repetition",
    usage: {
      promptTokens: 0,
      imageTokens: 0,
      completionTokens: pieces,
      reasoningTokens: 0,
      droppedTurns: 0,
    },
    timings: { queueMs: 0, imageMs: 0, visionMs: 0, prefillMs: 0, decodeMs: 0, totalMs: 0 },
    cache: { imageHits: 0, imageMisses: 0 },
  };
}
