// Answers of some form, with chance in the place of a model: whatever tokens are drawn, the answer has the form, also
// when the room for it ends early.

import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { allows } from "../../../src/vlm/constrain/local-mask.ts";
import { ResponseFormats } from "../../../src/vlm/constrain/response-format.ts";
import { ResponseFormatError } from "../../../src/vlm/errors.ts";
import { AnswerFlow } from "../../../src/vlm/text/answer-flow.ts";
import type { Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import type { ResponseFormat } from "../../../src/vlm/vision-language-model.ts";
import { holds } from "../../support/fuzz.ts";
import { keywordSoup } from "../../support/keyword-soup.ts";
import { randomSchema } from "../../support/random-schema.ts";
import { loadTinyChat } from "../text/tokenizers.ts";

let tokenizer: Tokenizer;
let endIds: ReadonlySet<number>;
let formats: ResponseFormats;

beforeAll(async () => {
  tokenizer = await loadTinyChat();
  endIds = new Set(tokenizer.stopTokenIds);
  formats = new ResponseFormats({
    size: tokenizer.size,
    isAdded: (id) => tokenizer.isAdded(id),
    tokenBytes: (id) => tokenizer.tokenBytes(id),
    endIds,
  });
});

interface Written {
  readonly text: string;
  readonly incomplete: boolean;
  readonly reason: string | undefined;
  readonly tokens: number;
}

/** An answer whose tokens are drawn at random, more often those that end something. */
async function write(format: ResponseFormat, seed: number, maxTokens: number): Promise<Written> {
  const constraint = await formats.constraint(format);
  const flow = new AnswerFlow({
    tokenizer,
    eosTokenIds: endIds,
    stop: [],
    constraint,
    maxTokens,
    maxReasoningTokens: 0,
    contextRoom: 10_000,
  });
  const random = mulberry(seed);
  let text = "";
  const show = (parts: ReturnType<AnswerFlow["take"]>) => {
    for (const part of parts) if (part.type === "text-delta") text += part.text;
  };
  while (flow.finishReason === undefined) {
    const id = flow.due ?? flow.settle(draw(flow.mask!, random));
    show(flow.take(id));
  }
  show(flow.end());
  return {
    text,
    incomplete: flow.incomplete,
    reason: flow.finishReason,
    tokens: flow.completionTokens,
  };
}

function draw(mask: Uint32Array, random: () => number): number {
  const allowed = [...Array(tokenizer.size).keys()].filter((id) => allows(mask, id));
  const closing = allowed.filter((id) => endIds.has(id) || /["\]}]/u.test(tokenizer.decode([id])));
  const among = closing.length > 0 && random() < 0.4 ? closing : allowed;
  return among[Math.floor(random() * among.length)]!;
}

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

function validatorOf(schema: Record<string, unknown>, draft7 = false) {
  const options = { strict: false, allErrors: true, validateFormats: true };
  const ajv = draft7 ? new Ajv(options) : new Ajv2020(options);
  addFormats.default(ajv);
  return ajv.compile(schema);
}

describe("an answer of some form", () => {
  it("satisfies its schema, whatever is drawn and whenever it has to end", async () => {
    await holds(
      fc.asyncProperty(
        randomSchema,
        fc.nat(),
        fc.integer({ min: 1, max: 120 }),
        async (schema, seed, maxTokens) => {
          const validate = validatorOf(schema);
          const answer = await write({ type: "json", schema }, seed, maxTokens);
          expect(answer.tokens).toBeLessThanOrEqual(maxTokens);
          if (answer.incomplete) return;
          const value: unknown = JSON.parse(answer.text);
          expect(validate(value), `${answer.text}: ${JSON.stringify(validate.errors)}`).toBe(true);
        },
      ),
      400,
    );
  });

  it("satisfies every keyword of its schema in any company, or is refused", async () => {
    let kept = 0;
    await holds(
      fc.asyncProperty(keywordSoup, fc.nat(), async (schema, seed) => {
        const answer = await write({ type: "json", schema }, seed, 60).catch((error: unknown) => {
          expect(error).toBeInstanceOf(ResponseFormatError);
          return undefined;
        });
        if (!answer || answer.incomplete) return;
        kept++;
        // Draft 7 has lists in `items`.
        const validate = validatorOf(schema, JSON.stringify(schema).includes('"items":['));
        const value: unknown = JSON.parse(answer.text);
        expect(validate(value), `${answer.text}: ${JSON.stringify(validate.errors)}`).toBe(true);
      }),
      2000,
    );
    expect(kept).toBeGreaterThan(0);
  });

  it("is JSON without a schema, too", async () => {
    await holds(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 2, max: 80 }), async (seed, maxTokens) => {
        const answer = await write({ type: "json" }, seed, maxTokens);
        expect(answer.incomplete).toBe(false);
        expect(typeof JSON.parse(answer.text)).toBe("object");
      }),
      60,
    );
  });

  const PATTERNS = [
    "(yes|no)( indeed)?",
    "\\d{4}-\\d{2}-\\d{2}",
    "[^a-z]{0,5}(猫|狗)+",
    "\\p{Lu}\\p{Ll}*[\\s\\S]",
    "(a|b)*a(a|b){6}",
    "^#[0-9a-fA-F]{6}$",
    ".{3,9}",
    "[\\w.-]+@[\\w-]+\\.com|none",
    "(\\(\\d+\\)|-)?",
    "\\u{1F600}+<think>",
  ];

  it.each(PATTERNS)("is what %s describes", async (pattern) => {
    const expression = new RegExp(`^(?:${pattern})$`, "u");
    await holds(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 40 }), async (seed, maxTokens) => {
        const answer = await write({ type: "regex", pattern }, seed, maxTokens);
        if (!answer.incomplete) expect(answer.text).toMatch(expression);
        else expect(answer.reason).toBe("max-tokens");
      }),
      40,
    );
  });

  it("is one of some choices, and long enough limits cut none of them", async () => {
    const options = ["a", "ab", "abc", "猫", "猫和狗", " <|im_end|>", "two\nlines", "</think>"];
    await holds(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const answer = await write({ type: "choice", options }, seed, 40);
        expect(options).toContain(answer.text);
      }),
      100,
    );
  });

  it("ends as soon as nothing can follow, without a token for the end", async () => {
    const answer = await write({ type: "choice", options: ["no"] }, 1, 10);
    expect(answer).toMatchObject({ text: "no", reason: "stop", incomplete: false });
  });

  it("says so when there is no room for the shortest answer", async () => {
    const schema = {
      type: "object",
      properties: { name: { enum: ["x".repeat(60)] } },
      required: ["name"],
    };
    const answer = await write({ type: "json", schema }, 3, 4);
    expect(answer).toMatchObject({ incomplete: true, reason: "max-tokens", tokens: 4 });
  });

  it("never has a token of its own inside a string", async () => {
    const constraint = await formats.constraint({ type: "json", schema: { type: "string" } });
    constraint.accept(tokenizer.encodeText('"')[0]!);
    const added = [...Array(tokenizer.size).keys()].filter((id) => tokenizer.isAdded(id));
    expect(added.length).toBeGreaterThan(10);
    expect(added.filter((id) => allows(constraint.mask, id))).toEqual([]);
  });
});
