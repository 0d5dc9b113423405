// The page about answers of a form against the code: what is listed as kept is kept, and nothing is kept in secret.

import { describe, expect, it } from "vitest";
import { REMARKS, SCHEMA_KEYWORDS } from "../src/vlm/constrain/schema-keywords.ts";
import { FORMATS } from "../src/vlm/constrain/text-formats.ts";
import { resolveDecide } from "../src/vlm/decide-options.ts";
import { resolveRequest } from "../src/vlm/request-options.ts";
import type { DecideQuestion, ResponseFormat } from "../src/vlm/vision-language-model.ts";
import { books, LANGUAGES, tableOf } from "./support/book.ts";
import { codes } from "./support/markdown.ts";

const messages = [
  { role: "user" as const, content: [{ type: "image" as const, data: new Uint8Array(1) }] },
];

const DEFAULTS = {
  doSample: false,
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  eosTokenIds: [],
};

describe.each(LANGUAGES)("answers of a form in %s", (language) => {
  const page = books[language].find(({ name }) => name === "forms")?.text ?? "";

  it("name every keyword of a schema, every format and every remark", () => {
    const kept = tableOf(language, "schema keywords").flatMap(([, cell = ""]) => codes(cell));
    expect(kept.toSorted()).toEqual(
      [...SCHEMA_KEYWORDS, ...FORMATS.keys(), "$defs", "definitions"].toSorted(),
    );
    const remarks = [...REMARKS].filter((name) => name !== "$defs" && name !== "definitions");
    for (const name of remarks) expect(page).toContain(`\`${name}\``);
  });

  it("show forms that a request takes", () => {
    const forms = tableOf(language, "forms").map(([cell = ""]) => codes(cell)[0] ?? "");
    const filled: Record<string, ResponseFormat> = {
      '{ type: "json", schema }': { type: "json", schema: {} },
      '{ type: "json" }': { type: "json" },
      '{ type: "regex", pattern }': { type: "regex", pattern: "a" },
      '{ type: "choice", options }': { type: "choice", options: ["a"] },
    };
    expect(forms).toEqual(Object.keys(filled));
    for (const responseFormat of Object.values(filled)) {
      expect(() => resolveRequest({ messages, responseFormat }, DEFAULTS)).not.toThrow();
    }
  });

  it("show questions that can be decided", () => {
    const questions: Record<string, DecideQuestion> = {
      '{ type: "yes-no", question, yes, no }': { type: "yes-no", question: "?", yes: "a", no: "b" },
      '{ type: "choice", question, options }': {
        type: "choice",
        question: "?",
        options: ["a", "b"],
      },
      '{ type: "number", question, min, max }': { type: "number", question: "?", min: 0, max: 1 },
      '{ type: "box", question }': { type: "box", question: "?" },
    };
    const shown = tableOf(language, "decisions").map(([cell = ""]) => codes(cell)[0] ?? "");
    expect(shown).toEqual(Object.keys(questions));
    expect(() => resolveDecide({ messages, questions: Object.values(questions) })).not.toThrow();
  });
});
