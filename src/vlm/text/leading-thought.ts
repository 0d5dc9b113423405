// A thought at the very beginning of an output, told from the answer behind it.
// In: pieces of text, cut anywhere, and marks that were tokens. Out: deltas of reasoning and answer.
// It knows no tokens; a `<think>` in the middle of an answer is text.

import type { FinishPart, StreamPart, ToolCallPart } from "../vision-language-model.ts";

/** A piece of reasoning or answer; never half a character. */
export type TextDelta = Exclude<StreamPart, FinishPart | ToolCallPart>;

const OPENING = "<think>";
const CLOSING = "</think>";
/** Line breaks between a thought and its answer, as the chat template writes them. */
const BREAKS = 2;

export interface LeadingThoughtOptions {
  /** The prompt has opened the thought: the output begins inside it. @default false */
  readonly opened?: boolean;
  /** `</think>` spelled in letters ends a thought, however it was opened. @default false: only one opened in letters */
  readonly endsInLetters?: boolean;
  /** There is no thought but the one that the prompt has opened. @default false */
  readonly literal?: boolean;
}

/**
 * Splits an output into the thought it begins with and the answer.
 *
 * Line breaks in front of a thought, and between it and its answer, belong to the format and are dropped; so is white
 * space at the end of a thought. Fine-tunes begin with several thoughts, mostly empty ones: all of them are reasoning.
 */
export class LeadingThought {
  #state: "start" | "thought" | "answer";
  #endsInLetters: boolean;
  readonly #literal: boolean;
  /** Line breaks that may still belong to the format. */
  #breaks = 0;
  readonly #lettersAlwaysEnd: boolean;
  /** The next thing shown follows a mark: line breaks in front of it are the format's. */
  #trimming: boolean;
  /** At the start: white space, and what may become `<think>`. */
  #held = "";
  /** In a thought: white space at its end so far, shown only if more follows, and what may become `</think>`. */
  #blank = "";

  constructor(options: LeadingThoughtOptions = {}) {
    const { opened = false, endsInLetters = false, literal = false } = options;
    this.#literal = literal;
    this.#state = opened ? "thought" : "start";
    this.#trimming = opened;
    this.#lettersAlwaysEnd = endsInLetters;
    this.#endsInLetters = endsInLetters;
  }

  /** Inside a thought. */
  get inside(): boolean {
    return this.#state === "thought";
  }

  /**
   * `<think>` came as a token.
   *
   * @returns whether it opens a thought, or repeats what the prompt has opened; if not, it is text of the answer.
   */
  open(): boolean {
    if (this.#state === "thought") return this.#trimming;
    if (this.#literal || this.#state !== "start" || this.#held.trim() !== "") return false;
    this.#enter(false);
    return true;
  }

  /** `</think>` came as a token: what follows is the answer. */
  close(): readonly TextDelta[] {
    const rest = this.#blank.trimEnd();
    this.#leave();
    return delta("reasoning-delta", rest);
  }

  push(text: string): readonly TextDelta[] {
    if (text === "") return [];
    switch (this.#state) {
      case "start":
        return this.#start(this.#held + text);
      case "thought":
        return this.#think(text);
      case "answer":
        return delta("text-delta", this.#behindBreaks(text));
      default:
        return this.#state satisfies never;
    }
  }

  /** Nothing more will come: returns what was held back. */
  end(): readonly TextDelta[] {
    if (this.#state === "thought") return delta("reasoning-delta", this.#blank.trimEnd());
    return this.#state === "start" ? this.#answer(this.#held) : [];
  }

  #start(text: string): readonly TextDelta[] {
    if (this.#literal) {
      this.#state = "answer";
      this.#breaks = this.#trimming ? BREAKS : 0;
      return delta("text-delta", this.#behindBreaks(text));
    }
    const shown = text.trimStart();
    if (shown.startsWith(OPENING)) {
      this.#enter(true);
      return this.push(shown.slice(OPENING.length));
    }
    if (OPENING.startsWith(shown)) {
      this.#held = text;
      return [];
    }
    return this.#answer(text);
  }

  #answer(text: string): readonly TextDelta[] {
    this.#state = "answer";
    this.#held = "";
    return delta("text-delta", this.#trimming ? text.replace(/^\n+/, "") : text);
  }

  /** A literal answer without the empty line in front of it, but with whatever lines of its own it begins with. */
  #behindBreaks(text: string): string {
    let rest = text;
    while (this.#breaks > 0 && rest !== "") {
      if (!rest.startsWith("\n")) this.#breaks = 0;
      else {
        rest = rest.slice(1);
        this.#breaks--;
      }
    }
    return rest;
  }

  #think(text: string): readonly TextDelta[] {
    let thought = this.#blank + text;
    if (this.#trimming) {
      thought = thought.replace(/^\n+/, "");
      if (thought === "") return [];
      this.#trimming = false;
    }
    const end = this.#endsInLetters ? thought.indexOf(CLOSING) : -1;
    if (end !== -1) {
      const rest = delta("reasoning-delta", thought.slice(0, end).trimEnd());
      this.#leave();
      return [...rest, ...this.push(thought.slice(end + CLOSING.length))];
    }
    const whole = thought.slice(0, thought.length - (this.#endsInLetters ? begun(thought) : 0));
    const shown = whole.trimEnd();
    this.#blank = thought.slice(shown.length);
    return delta("reasoning-delta", shown);
  }

  #enter(inLetters: boolean): void {
    this.#state = "thought";
    this.#endsInLetters = inLetters || this.#lettersAlwaysEnd;
    this.#trimming = true;
    this.#held = "";
    this.#blank = "";
  }

  #leave(): void {
    this.#state = "start";
    this.#trimming = true;
    this.#held = "";
    this.#blank = "";
  }
}

/** How much of the end of the text may become `</think>`. */
function begun(text: string): number {
  for (let length = CLOSING.length - 1; length > 0; length--) {
    if (text.endsWith(CLOSING.slice(0, length))) return length;
  }
  return 0;
}

function delta(type: TextDelta["type"], text: string): readonly TextDelta[] {
  return text === "" ? [] : [{ type, text }];
}
