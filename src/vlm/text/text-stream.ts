// From generated token ids to text that may be shown, as soon as it may.
// In: one id at a time. Out: deltas of reasoning and answer. It knows nothing of models, chats or sockets.

import { LeadingThought, type TextDelta } from "./leading-thought.ts";
import { StopStrings } from "./stop-strings.ts";
import type { Tokenizer } from "./tokenizer.ts";

export type { TextDelta };

export interface TextStreamOptions {
  /** If it is `thinking`, the output begins inside a thought, and the answer follows `</think>`. */
  readonly tokenizer: Pick<Tokenizer, "tokenBytes" | "isSpecial" | "findSpecial" | "thinking">;
  /** The answer ends in front of the first of these. They are not looked for in the reasoning. @default [] */
  readonly stop?: readonly string[] | undefined;
  /** What follows a thought that the prompt has opened, or no thought, is the answer, whatever it looks like. @default false */
  readonly literal?: boolean;
  /** The prompt holds the beginning of the answer: no thought is open. @default false */
  readonly begun?: boolean;
}

const NOTHING: readonly TextDelta[] = [];

/**
 * Turns the tokens of one answer into text.
 *
 * Byte-level tokens cut characters apart: a character is shown when its last byte is there. Bytes that can no longer become a
 * character are shown as U+FFFD. Special tokens are never shown. A thought at the very beginning is reasoning, also when
 * the prompt has not opened one.
 */
export class TextStream {
  readonly #tokenizer: TextStreamOptions["tokenizer"];
  readonly #stops: StopStrings;
  readonly #thinkId: number | undefined;
  readonly #thinkEndId: number | undefined;
  readonly #thought: LeadingThought;
  // ignoreBOM: a U+FEFF the model wrote is text.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #reasoningTokens = 0;

  constructor({ tokenizer, stop = [], literal = false, begun = false }: TextStreamOptions) {
    this.#tokenizer = tokenizer;
    this.#stops = new StopStrings(stop);
    this.#thinkId = tokenizer.findSpecial("<think>");
    this.#thinkEndId = tokenizer.findSpecial("</think>");
    // A vocabulary with a mark of its own does not end a thought in letters: they may be part of it.
    this.#thought = new LeadingThought({
      opened: tokenizer.thinking && !begun,
      endsInLetters: this.#thinkEndId === undefined,
      literal,
    });
  }

  /** A stop string has appeared: no more text will come. */
  get stopped(): boolean {
    return this.#stops.matched !== undefined;
  }

  /** The output is inside a thought. */
  get reasoning(): boolean {
    return this.#thought.inside;
  }

  /** Tokens taken while reasoning, `</think>` included. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  /** Takes the next token and returns what may be shown now. */
  push(id: number): readonly TextDelta[] {
    if (this.stopped) return NOTHING;
    if (id === this.#thinkId && this.#thought.open()) {
      this.#reasoningTokens++;
      return NOTHING;
    }
    if (this.#thought.inside) {
      this.#reasoningTokens++;
      if (id === this.#thinkEndId) {
        return [...this.#show(this.#utf8.decode()), ...this.#stopped(this.#thought.close())];
      }
    }
    if (this.#tokenizer.isSpecial(id)) return NOTHING;
    return this.#show(this.#utf8.decode(this.#tokenizer.tokenBytes(id), { stream: true }));
  }

  /** No more tokens will come: returns what was held back. */
  end(): readonly TextDelta[] {
    if (this.stopped) return NOTHING;
    const rest = [...this.#show(this.#utf8.decode()), ...this.#stopped(this.#thought.end())];
    if (this.#thought.inside || this.stopped) return rest;
    const held = this.#stops.flush();
    return held === "" ? rest : [...rest, { type: "text-delta", text: held }];
  }

  #show(text: string): readonly TextDelta[] {
    return this.#stopped(this.#thought.push(text));
  }

  /** Lets the answer through up to a stop string. */
  #stopped(deltas: readonly TextDelta[]): readonly TextDelta[] {
    return deltas.flatMap((delta): TextDelta[] => {
      if (delta.type === "reasoning-delta") return [delta];
      const text = this.#stops.push(delta.text);
      return text === "" ? [] : [{ type: "text-delta", text }];
    });
  }
}
