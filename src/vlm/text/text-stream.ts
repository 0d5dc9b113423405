// From generated token ids to text that may be shown, as soon as it may.
// In: one id at a time. Out: deltas of reasoning and answer. It knows nothing of models, chats or sockets.

import type { FinishPart, StreamPart } from "../vision-language-model.ts";
import { StopStrings } from "./stop-strings.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A piece of reasoning or answer; never half a character. */
export type TextDelta = Exclude<StreamPart, FinishPart>;

export interface TextStreamOptions {
  /** If it is `thinking`, the output begins inside a thought, and the answer follows `</think>`. */
  readonly tokenizer: Pick<Tokenizer, "tokenBytes" | "isSpecial" | "findSpecial" | "thinking">;
  /** The answer ends in front of the first of these. They are not looked for in the reasoning. @default [] */
  readonly stop?: readonly string[] | undefined;
}

const NOTHING: readonly TextDelta[] = [];

/**
 * Turns the tokens of one answer into text.
 *
 * Byte-level tokens cut characters apart: a character is shown when its last byte is there. Bytes that can no longer become a
 * character are shown as U+FFFD. Special tokens are never shown.
 */
export class TextStream {
  readonly #tokenizer: TextStreamOptions["tokenizer"];
  readonly #stops: StopStrings;
  readonly #thinkId: number | undefined;
  readonly #thinkEndId: number | undefined;
  // ignoreBOM: a U+FEFF the model wrote is text.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #reasoning: boolean;
  /** Line breaks in front of a thought, and between it and its answer, belong to the format. */
  #trimming: boolean;
  /** White space at the end of the reasoning so far; shown only if more reasoning follows. */
  #blank = "";
  #reasoningTokens = 0;

  constructor(options: TextStreamOptions) {
    this.#tokenizer = options.tokenizer;
    this.#stops = new StopStrings(options.stop ?? []);
    this.#thinkId = options.tokenizer.findSpecial("<think>");
    this.#thinkEndId = options.tokenizer.findSpecial("</think>");
    this.#reasoning = options.tokenizer.thinking;
    this.#trimming = options.tokenizer.thinking;
  }

  /** A stop string has appeared: no more text will come. */
  get stopped(): boolean {
    return this.#stops.matched !== undefined;
  }

  /** Tokens taken while reasoning, `</think>` included. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  /** Takes the next token and returns what may be shown now. */
  push(id: number): readonly TextDelta[] {
    if (this.stopped) return NOTHING;
    if (this.#reasoning) {
      this.#reasoningTokens++;
      if (id === this.#thinkEndId) return this.#endReasoning();
      // Some fine-tunes open the thought again although the prompt has done so.
      if (id === this.#thinkId && this.#trimming) return NOTHING;
    }
    if (this.#tokenizer.isSpecial(id)) return NOTHING;
    return this.#show(this.#utf8.decode(this.#tokenizer.tokenBytes(id), { stream: true }));
  }

  /** No more tokens will come: returns what was held back. */
  end(): readonly TextDelta[] {
    if (this.stopped) return NOTHING;
    const rest = this.#show(this.#utf8.decode());
    if (this.#reasoning || this.stopped) return rest;
    return [...rest, ...delta("text-delta", this.#stops.flush())];
  }

  #endReasoning(): readonly TextDelta[] {
    const rest = this.#show(this.#utf8.decode());
    this.#reasoning = false;
    this.#trimming = true;
    this.#blank = "";
    return rest;
  }

  #show(decoded: string): readonly TextDelta[] {
    let text = decoded;
    if (this.#trimming) {
      text = text.replace(/^\n+/, "");
      if (text === "") return NOTHING;
      this.#trimming = false;
    }
    if (!this.#reasoning) return delta("text-delta", this.#stops.push(text));
    const thought = this.#blank + text;
    const shown = thought.trimEnd();
    this.#blank = thought.slice(shown.length);
    return delta("reasoning-delta", shown);
  }
}

function delta(type: TextDelta["type"], text: string): readonly TextDelta[] {
  return text === "" ? NOTHING : [{ type, text }];
}
