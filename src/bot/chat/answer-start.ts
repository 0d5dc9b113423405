// The very start of an answer, where models imitate the `name：` they read in front of what people say in a group.
// In: pieces of an answer and the names the model has seen. Out: the answer without them. It knows no model and no chat.

import { MAX_NAME_CHARACTERS } from "./speaker-name.ts";

/** The names whose imitation is taken off. */
export interface SeenNames {
  /** As the model was shown them. */
  readonly speakers: Iterable<string>;
  /** The bot's own names, looked up only when an answer begins like one; a failure is an empty list. */
  readonly own?: (() => Promise<readonly string[]>) | undefined;
}

/** What may turn out to be a name and a colon: one line, no longer than names are. */
const MAYBE_NAME = new RegExp(`^[^\\n:：]{0,${2 * MAX_NAME_CHARACTERS}}$`, "u");
const NAME_AND_COLON = new RegExp(`^[^\\n:：]{1,${2 * MAX_NAME_CHARACTERS}}[:：]`, "u");

/** Takes names with a full or half-width colon off the start of an answer; other words before a colon stay. */
export class AnswerStart {
  readonly #names: Set<string>;
  #lookUpOwn: SeenNames["own"];
  #held = "";
  #begun = false;
  /** White space behind a name goes with it. */
  #trimming = false;

  constructor({ speakers, own }: SeenNames) {
    this.#names = new Set(speakers);
    this.#names.delete("");
    this.#lookUpOwn = own;
  }

  /** Takes the next piece and returns what is certain to belong to the answer. */
  async push(text: string): Promise<string> {
    if (this.#begun) return text;
    this.#held = this.#withoutNames(this.#held + text);
    if (this.#lookUpOwn !== undefined && NAME_AND_COLON.test(this.#held)) {
      for (const name of await this.#lookUpOwn()) if (name !== "") this.#names.add(name);
      this.#lookUpOwn = undefined;
      this.#held = this.#withoutNames(this.#held);
    }
    return this.#mayBecomeName(this.#held) ? "" : this.end();
  }

  /** Nothing more will come, or what has come is no name: returns what was held back. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    this.#begun = true;
    return held;
  }

  /** One name or several: a model that imitates one may imitate a whole chat. */
  #withoutNames(text: string): string {
    for (let rest = text; ; ) {
      const start = rest.trimStart();
      const name = [...this.#names].find((known) => afterColon(start, known) !== undefined);
      if (name === undefined) return this.#trimming ? start : rest;
      rest = afterColon(start, name) ?? "";
      this.#trimming = true;
    }
  }

  #mayBecomeName(text: string): boolean {
    const start = text.trimStart();
    if (this.#lookUpOwn !== undefined && MAYBE_NAME.test(start)) return true;
    return [...this.#names].some((name) =>
      start.length <= name.length ? name.startsWith(start) : start.trimEnd() === name,
    );
  }
}

/** What follows `name：`; undefined if the text does not begin so. */
function afterColon(text: string, name: string): string | undefined {
  if (!text.startsWith(name)) return undefined;
  return /^ *[:：](.*)$/su.exec(text.slice(name.length))?.[1];
}
