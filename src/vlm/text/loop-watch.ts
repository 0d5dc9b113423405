// Watches one answer for a loop, in its tokens and in its text at once.
// In: each token with the text it made appear. Out: how much of that text is more than one copy. It ends nothing.

import { Repetition, TextRepetition, TOKEN_LOOPS, withClosing } from "./repetition.ts";

/** Tokens show loops of what is never text; text shows loops whose copies are cut into tokens differently. */
export class LoopWatch {
  readonly #tokens = new Repetition(TOKEN_LOOPS);
  readonly #characters = new TextRepetition();
  #text = "";
  /** UTF-16 units shown after each token. */
  readonly #shown: number[] = [];

  /**
   * Takes the next token and what it made appear.
   *
   * @returns once there is a loop, how many UTF-16 units at the end of the text are copies of what stands before them.
   */
  push(id: number, text: string): number | undefined {
    this.#text += text;
    this.#shown.push(this.#text.length);
    const loop = this.#tokens.push(id);
    const repeated = this.#characters.push(text);
    if (repeated > 0) return repeated;
    if (!loop) return undefined;
    const first = this.#shown.length - loop.length - 1;
    const [start = 0, end = 0] = [this.#shown[first], this.#shown[first + loop.period]];
    return this.#text.length - withClosing(this.#text, end, end - start);
  }
}
