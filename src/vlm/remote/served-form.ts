// Did a server keep to the form that was wanted? In: deltas of its answer. Out: the same, a choice without its quotation
// marks, and in the end whether the form was kept: some servers take the wish and ignore it.

import type { ResponseFormat, StreamPart } from "../vision-language-model.ts";

export class ServedForm {
  readonly #format: ResponseFormat | undefined;
  #text = "";

  constructor(format: ResponseFormat | undefined) {
    this.#format = format;
  }

  /** A choice comes as JSON, and whole: it is shown once it is known. */
  push(parts: readonly StreamPart[]): readonly StreamPart[] {
    if (this.#format === undefined) return parts;
    for (const part of parts) if (part.type === "text-delta") this.#text += part.text;
    if (this.#format.type !== "choice") return parts;
    return parts.filter(({ type }) => type !== "text-delta");
  }

  /** @returns what was held back, and whether the answer has its form */
  end(): { readonly held: readonly StreamPart[]; readonly kept: boolean } {
    const format = this.#format;
    if (format === undefined) return { held: [], kept: true };
    switch (format.type) {
      case "json":
        return { held: [], kept: parsed(this.#text) !== undefined };
      case "regex":
        return { held: [], kept: new RegExp(`^(?:${format.pattern})$`, "u").test(this.#text) };
      case "choice": {
        const value = parsed(this.#text);
        const text = typeof value === "string" ? value : this.#text;
        const held = text === "" ? [] : [{ type: "text-delta" as const, text }];
        return { held, kept: format.options.includes(text) };
      }
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
