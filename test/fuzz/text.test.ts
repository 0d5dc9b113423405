// What people type and what the model writes: to tokens and back, into messages and together again.

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { splitText } from "../../src/bot/reply/split.ts";
import type { Tokenizer } from "../../src/vlm/text/tokenizer.ts";
import { effort } from "../support/fuzz.ts";
import { loadQwen3 } from "../vlm/text/tokenizers.ts";

const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.string({ unit: "grapheme", maxLength: 100 }),
  fc
    .array(
      fc.constantFrom(
        "<|im_end|>",
        "<|im_start|>",
        "<|image_pad|>",
        "</think>",
        "你好",
        " ",
        "\n\n",
        "。",
        "```js\n",
        "```",
        "https://example.com/a?b=c ",
        "👨‍👩‍👧",
        "word",
      ),
      { maxLength: 60 },
    )
    .map((parts) => parts.join("")),
);

describe("the tokenizer", () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadQwen3();
  });

  it("gives back what it was given, in NFC, and no control token for anything typed", () => {
    const control = tokenizer.specialId("<|im_end|>");
    const lowest = Math.min(control, tokenizer.specialId("<|endoftext|>"));
    fc.assert(
      fc.property(anyText, (text) => {
        const ids = tokenizer.encodeText(text);
        expect(tokenizer.decode(ids)).toBe(text.toWellFormed().normalize("NFC"));
        expect(Math.max(-1, ...ids)).toBeLessThan(lowest);
      }),
      effort(400),
    );
  });
});

describe("an answer in several messages", () => {
  const withoutSpace = (text: string) => text.replace(/\s/gu, "");

  it("keeps to the limit and loses nothing but white space", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 20, max: 80 }), (text, max) => {
        const messages = splitText(text, max);
        for (const message of messages) {
          expect(message.length).toBeLessThanOrEqual(max);
          expect(message.trim()).not.toBe("");
        }
        expect(withoutSpace(messages.join(""))).toBe(withoutSpace(text));
      }),
      effort(2000),
    );
  });

  it("never cuts a character in two", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
        for (const message of splitText(text, 20)) expect(message.isWellFormed()).toBe(true);
      }),
      effort(1000),
    );
  });
});
