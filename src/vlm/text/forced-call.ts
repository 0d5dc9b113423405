// The beginning of a call that has to be made. In: which tool, if it is one. Out: the tokens an answer begins with,
// one by one. What follows them the model writes. It knows nothing of thoughts or of sampling.

import type { ToolChoice } from "../vision-language-model.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { KnownTool } from "./tool-call-text.ts";

export class ForcedCall {
  #due: readonly number[];

  /**
   * @param choice `required` with one tool is that tool's name; with several, the model chooses
   * @param markOnly what follows the mark is seen to elsewhere
   */
  constructor(
    tokenizer: Pick<Tokenizer, "encodeText" | "findSpecial">,
    tools: readonly KnownTool[],
    choice: ToolChoice,
    markOnly = false,
  ) {
    const mark = tokenizer.findSpecial("<tool_call>");
    const [only] = tools;
    const wanted =
      typeof choice === "object" ? choice.name : tools.length === 1 ? only?.name : undefined;
    const forced = tools.length > 0 && mark !== undefined && choice !== "auto" && choice !== "none";
    // As the chat template writes it, so that the tokens are those the model was taught.
    const head =
      wanted === undefined
        ? '\n{"name": "'
        : `\n{"name": ${JSON.stringify(wanted)}, "arguments": {`;
    this.#due = forced ? [mark, ...(markOnly ? [] : tokenizer.encodeText(head))] : [];
  }

  /** The token that has to come next; undefined: the model chooses. */
  get due(): number | undefined {
    return this.#due[0];
  }

  /** The token that was due has come. */
  advance(): void {
    this.#due = this.#due.slice(1);
  }
}
