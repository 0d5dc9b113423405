// The calls of tools in an answer, told from its text as it comes. In: tokens, and the deltas of the text behind them.
// Out: text without calls, and each call once it is whole. It runs nothing and knows no schemas.

import type { ToolCallPart } from "../vision-language-model.ts";
import type { TextDelta } from "./text-stream.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type KnownTool, readToolCalls, type WrittenCall } from "./tool-call-text.ts";

/** What an answer is made of before its finish. */
export type AnswerPart = TextDelta | ToolCallPart;

export interface ToolCallStreamOptions {
  readonly tokenizer: Pick<Tokenizer, "tokenBytes" | "findSpecial">;
  /** Those of the request; without any, marks of calls are text like any other. */
  readonly tools: readonly KnownTool[];
  /** An answer that is nothing but the JSON of a call is one. @default true */
  readonly bare?: boolean;
  /** More calls than this are passed over. @default any number */
  readonly most?: number;
}

/** An answer that begins so may be a call without its marks. */
const BARE_CALL = /^\s*(?:```(?:json)?\s*)?[[{]/u;
/** So may one that has begun only. */
const MAY_BECOME_BARE = /^\s*(?:`{0,2}$|```(?:j|js|jso|json)?\s*$)/u;

/**
 * Finds calls by the tokens that mark them, never by their letters: what people typed cannot make one. An answer that
 * is nothing but the JSON of a known tool counts as a call too, as small models forget the marks.
 */
export class ToolCallStream {
  readonly #tokenizer: ToolCallStreamOptions["tokenizer"];
  readonly #tools: readonly KnownTool[];
  readonly #openId: number | undefined;
  readonly #closeId: number | undefined;
  readonly #most: number;
  /** Bytes since `<tool_call>`; undefined outside of one. */
  #block: number[] | undefined;
  /** The answer so far, while it may turn out to be a bare call. */
  #held: string | undefined;
  #calls = 0;

  constructor(options: ToolCallStreamOptions) {
    const { tokenizer, tools, bare = true, most = Number.POSITIVE_INFINITY } = options;
    this.#most = most;
    this.#tokenizer = tokenizer;
    this.#tools = tools;
    const on = tools.length > 0;
    this.#openId = on ? tokenizer.findSpecial("<tool_call>") : undefined;
    this.#closeId = on ? tokenizer.findSpecial("</tool_call>") : undefined;
    this.#held = on && bare ? "" : undefined;
  }

  /** Inside a call, behind its mark. */
  get inside(): boolean {
    return this.#block !== undefined;
  }

  /** How many calls were written. */
  get calls(): number {
    return this.#calls;
  }

  /** No more may be written. */
  get full(): boolean {
    return this.#calls >= this.#most;
  }

  /**
   * Takes a token of the answer, not of a thought.
   *
   * @returns undefined if it is none of a call: its text is to be shown
   */
  take(id: number): readonly AnswerPart[] | undefined {
    if (id === this.#openId) {
      const before = this.#release();
      const unclosed = this.#close();
      this.#block = [];
      return [...before, ...unclosed];
    }
    if (!this.#block) return id === this.#closeId ? [] : undefined;
    if (id === this.#closeId) return this.#close();
    this.#block.push(...this.#tokenizer.tokenBytes(id));
    return [];
  }

  /** Lets text through, or keeps it while it may be a call. */
  text(deltas: readonly TextDelta[]): readonly AnswerPart[] {
    if (this.#held === undefined) return deltas;
    const shown: TextDelta[] = [];
    for (const delta of deltas) {
      if (delta.type === "reasoning-delta" || this.#held === undefined) shown.push(delta);
      else {
        this.#held += delta.text;
        if (BARE_CALL.test(this.#held) || MAY_BECOME_BARE.test(this.#held)) continue;
        shown.push(...this.#release());
      }
    }
    return shown;
  }

  /** The answer is over. @param whole the model ended it by itself: a call without its end mark counts. */
  end(whole: boolean): readonly AnswerPart[] {
    if (this.#block) {
      const parts = whole ? this.#close() : [];
      this.#block = undefined;
      return parts;
    }
    const bare = whole && this.#held ? readToolCalls(this.#held, this.#tools) : [];
    const known = bare.every(({ name }) => this.#tools.some((tool) => tool.name === name));
    if (bare.length === 0 || !known) return this.#release();
    this.#held = undefined;
    return this.#parts(bare);
  }

  #release(): readonly TextDelta[] {
    const held = this.#held ?? "";
    this.#held = undefined;
    return held === "" ? [] : [{ type: "text-delta", text: held }];
  }

  #close(): readonly ToolCallPart[] {
    if (!this.#block) return [];
    const text = Buffer.from(this.#block).toString();
    this.#block = undefined;
    const calls = readToolCalls(text, this.#tools);
    if (calls.length > 0) return this.#parts(calls);
    const name = /"name"\s*:\s*"([^"\n]+)"/u.exec(text)?.[1];
    // Whoever runs tools can tell the model what was wrong only if it hears of the call.
    return name === undefined ? [] : [{ ...this.#part(name, text.trim()), invalid: true }];
  }

  #parts(calls: readonly WrittenCall[]): readonly ToolCallPart[] {
    const left = calls.slice(0, this.#most - this.#calls);
    return left.map((call) => this.#part(call.name, call.arguments));
  }

  #part(name: string, text: string): ToolCallPart {
    return { type: "tool-call", id: `call_${this.#calls++}`, name, arguments: text };
  }
}
