// One answer on its way: which token comes next, what may be shown of it, and when it is over.
// In: the tokens that were sampled, one at a time. Out: the tokens to go on with, text, and the reason of the end.
// It knows no logits, no caches and no other answers.

import type { Constraint } from "../constrain/constraint.ts";
import type { TokenMask } from "../constrain/local-mask.ts";
import type { FinishReason, ToolChoice } from "../vision-language-model.ts";
import { ForcedCall } from "./forced-call.ts";
import { FormedAnswer } from "./formed-answer.ts";
import { type CallForm, HeldCalls } from "./held-calls.ts";
import { LoopWatch } from "./loop-watch.ts";
import { TextStream } from "./text-stream.ts";
import { ThoughtBudget } from "./thought-budget.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type AnswerPart, ToolCallStream } from "./tool-call-stream.ts";
import type { KnownTool } from "./tool-call-text.ts";

export interface AnswerFlowOptions {
  readonly tokenizer: Pick<
    Tokenizer,
    "tokenBytes" | "isSpecial" | "findSpecial" | "encodeText" | "thinking"
  >;
  /** Any of these ends the answer. */
  readonly eosTokenIds: ReadonlySet<number>;
  readonly stop: readonly string[];
  /** Calls of these are told from the text. @default [] */
  readonly tools?: readonly KnownTool[];
  /** @default "auto" */
  readonly toolChoice?: ToolChoice;
  /** If not, the answer ends with its first call. @default true */
  readonly parallelToolCalls?: boolean;
  /** The form that the answer has to have. Left out: any. */
  readonly constraint?: Constraint | undefined;
  /** The form of a call that has to be made, between its marks. Left out: the model is helped to begin it. */
  readonly callConstraint?: Constraint | undefined;
  /** How calls are held that the model makes by itself. Left out: not at all. */
  readonly callForm?: CallForm | undefined;
  /** The prompt holds the beginning of the answer: there is no thought any more. @default false */
  readonly begun?: boolean;
  /** Most tokens of the answer, reasoning included. */
  readonly maxTokens: number;
  /** Tokens after which a thought is closed for the model. A quarter of the room is left for the answer in any case. */
  readonly maxReasoningTokens: number;
  /** Tokens that the context has left behind the prompt. */
  readonly contextRoom: number;
}

/**
 * One answer, token by token.
 *
 * @example
 * const id = answer.due ?? answer.settle(sampler.sample(logits, answer.mask));
 * for (const delta of answer.take(id)) push(delta);
 * if (answer.finishReason !== undefined) break;
 */
export class AnswerFlow {
  readonly #options: AnswerFlowOptions;
  readonly #text: TextStream;
  readonly #calls: ToolCallStream;
  readonly #held: HeldCalls;
  readonly #budget: ThoughtBudget;
  readonly #forced: ForcedCall;
  readonly #formed: FormedAnswer;
  #loops = new LoopWatch();
  #completionTokens = 0;
  #repeatedCharacters = 0;
  #circling = false;
  #finishReason: FinishReason | undefined;

  constructor(options: AnswerFlowOptions) {
    const { tokenizer, stop, tools = [], maxTokens, maxReasoningTokens, contextRoom } = options;
    this.#options = options;
    const formed = options.constraint !== undefined;
    const { begun = false } = options;
    this.#text = new TextStream({ tokenizer, stop, literal: formed || begun, begun });
    const { callConstraint, callForm } = options;
    // Without its marks a call cannot be held.
    const bare = !formed && !tools.some(({ strict }) => strict);
    const most = options.parallelToolCalls === false ? 1 : Number.POSITIVE_INFINITY;
    this.#calls = new ToolCallStream({ tokenizer, tools, bare, most });
    const [openId, closeId] = [
      tokenizer.findSpecial("<tool_call>"),
      tokenizer.findSpecial("</tool_call>"),
    ];
    this.#held = new HeldCalls(callForm, openId, closeId);
    const choice = options.toolChoice ?? "auto";
    this.#forced = new ForcedCall(tokenizer, tools, choice, callConstraint !== undefined);
    this.#formed = new FormedAnswer({
      constraint: options.constraint ?? callConstraint,
      callId: formed && tools.length > 0 ? openId : undefined,
      closingId: callConstraint && closeId,
      afterThought: tokenizer.encodeText("\n\n"),
    });
    const room = Math.min(maxTokens, contextRoom);
    this.#budget = new ThoughtBudget({ tokenizer, maxReasoningTokens, room });
    this.#closeUsedUpThought();
  }

  /** The token that has to come next; undefined: the model chooses. */
  get due(): number | undefined {
    if (this.#budget.due !== undefined || this.#text.reasoning) return this.#budget.due;
    return this.#forced.due ?? this.#held.due ?? this.#formed.due;
  }

  /** Tokens that may come next; undefined: any. */
  get mask(): TokenMask | undefined {
    if (this.#text.reasoning) return undefined;
    return this.#held.on ? this.#held.mask : this.#formed.mask;
  }

  /** Inside a thought. */
  get reasoning(): boolean {
    return this.#text.reasoning;
  }

  /** Finds out what {@link mask} will be asked for. Undefined: it is known. Never rejects: `mask` says what is wrong. */
  prepare(): Promise<void> | undefined {
    if (this.#text.reasoning || this.due !== undefined) return undefined;
    return this.#held.on ? this.#held.prepare() : this.#formed.prepare();
  }

  /** The answer has not the form that it has to have. */
  get incomplete(): boolean {
    return this.#text.reasoning ? this.#formed.on : this.#formed.incomplete;
  }

  /** The token to take where the model chose this one: another where an answer of some form could not end in time. */
  settle(id: number): number {
    if (this.#text.reasoning) return id;
    return this.#formed.settle(id, this.#options.eosTokenIds, this.#room);
  }

  /** Why the answer is over; undefined: it is not. */
  get finishReason(): FinishReason | undefined {
    return this.#finishReason;
  }

  /** All tokens taken, those that had to come included. */
  get completionTokens(): number {
    return this.#completionTokens;
  }

  /** Those of a thought, its marks included. */
  get reasoningTokens(): number {
    return this.#text.reasoningTokens;
  }

  /** The thought was closed for the model. */
  get reasoningCut(): boolean {
    return this.#budget.closed;
  }

  /** How many UTF-16 units at the end of the text shown are copies of what stands before them. */
  get repeatedCharacters(): number {
    return this.#repeatedCharacters;
  }

  /** Takes the next token, the one that was due or one the model chose, and returns what may be shown now. */
  take(id: number): readonly AnswerPart[] {
    const wasReasoning = this.#text.reasoning;
    if (id === this.#budget.due) this.#budget.advance();
    else if (id === this.#forced.due && !wasReasoning) this.#forced.advance();
    else if (id === this.#formed.due && !wasReasoning) this.#formed.take(id);
    else if (this.#options.eosTokenIds.has(id)) {
      this.#finishReason = this.#formed.ending ? this.#cut : "stop";
      return [];
    } else if (!wasReasoning) this.#formed.take(id);
    this.#completionTokens++;

    const parts = this.#take(id);
    if (this.#text.reasoning !== wasReasoning) this.#loops = new LoopWatch();
    // A closing that was written for the model has its empty line already.
    if (wasReasoning && !this.#text.reasoning && this.#budget.due === undefined)
      this.#formed.begin();
    this.#finishReason = this.#reasonToFinish(id, parts);
    this.#closeUsedUpThought();
    return parts;
  }

  #take(id: number): readonly AnswerPart[] {
    // A call inside a thought is a thought.
    const call = this.#text.reasoning ? undefined : this.#calls.take(id);
    this.#held.take(id, this.#calls.inside);
    return call ?? this.#calls.text(this.#text.push(id));
  }

  /**
   * Nothing more will come: what was held back, unless it is one more copy. Only now is it known whether an answer that
   * the model ended is one with calls.
   */
  end(): readonly AnswerPart[] {
    if (this.#finishReason === "repetition") return [];
    const parts = this.#calls.text(this.#text.end());
    const last = this.#calls.end(this.#finishReason === "stop");
    if (this.#finishReason === "stop" && this.#calls.calls > 0) this.#finishReason = "tool-calls";
    return [...parts, ...last];
  }

  #reasonToFinish(id: number, parts: readonly AnswerPart[]): FinishReason | undefined {
    const { maxTokens, contextRoom } = this.#options;
    if (this.#text.stopped) return "stop-string";
    if (this.#calls.full) return "stop";
    if (this.#formed.done) return this.#formed.ending ? this.#cut : "stop";
    const repeated = this.#loops.push(id, parts.map(textOf).join(""));
    if (repeated !== undefined && !this.#text.reasoning && this.#endFormed()) return undefined;
    if (repeated !== undefined && !this.#closeThought()) {
      this.#repeatedCharacters = this.#text.reasoning ? 0 : repeated;
      return "repetition";
    }
    if (this.#completionTokens >= maxTokens) return "max-tokens";
    // The last token needs no room: nothing comes after it.
    return this.#completionTokens > contextRoom ? "context-full" : undefined;
  }

  /** Tokens that may still come. */
  get #room(): number {
    const { maxTokens, contextRoom } = this.#options;
    return Math.min(maxTokens, contextRoom + 1) - this.#completionTokens;
  }

  /** Why an answer of some form was ended in the shortest way. */
  get #cut(): FinishReason {
    const { maxTokens, contextRoom } = this.#options;
    if (this.#options.callConstraint) return "tool-calls";
    if (this.#circling) return "repetition";
    return maxTokens <= contextRoom + 1 ? "max-tokens" : "context-full";
  }

  /** An answer of some form that goes in circles is ended in its form, where there is room. */
  #endFormed(): boolean {
    if (this.#formed.ending) return true;
    if (!this.#formed.endWithin(this.#room)) return false;
    this.#circling = true;
    return true;
  }

  /** Lets the model come out of its thought, once; false if there is none to come out of. */
  #closeThought(): boolean {
    if (!this.#text.reasoning || this.#budget.closed) return false;
    this.#budget.close();
    return true;
  }

  #closeUsedUpThought(): void {
    const { reasoning, reasoningTokens } = this.#text;
    const closing = this.#budget.due !== undefined;
    if (reasoning && !closing && this.#budget.isUsedUp(reasoningTokens)) this.#budget.close();
  }
}

function textOf(part: AnswerPart): string {
  return part.type === "tool-call" ? "" : part.text;
}
