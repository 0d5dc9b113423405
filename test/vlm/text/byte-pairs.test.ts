// The encoding of our own against the general library, over the same files.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PreTrainedTokenizer } from "@huggingface/transformers";
import { beforeAll, describe, expect, it } from "vitest";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { BytePairs } from "../../../src/vlm/text/byte-pairs.ts";
import { readVocabulary } from "../../../src/vlm/text/vocabulary.ts";
import { QWEN3_DIR, TINY_CHAT_DIR } from "./tokenizers.ts";

const PIECES = [
  ..."aAzZſK09 .,'!?<|>/\\\n\r\t\u0000\u007f\u0085\u00a0\u1680\u2028\u3000\ufeff的一是你好한글אבعربไทย🙂👩‍👩‍👧é∑﷽𠮷½²Ⅳ",
  "'s",
  "'LL",
  "'ſ",
  "don't",
  "  ",
  "\r\n",
  "\n\n",
  "the",
  " picture",
  "图片",
  "1234567",
  "function(x) { return x; }",
  "https://example.com/?q=%20",
  "\ud800",
  "\udc00",
];

/** The same numbers in every run. */
function* numbers(seed: number): Generator<number, never> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    yield (state >>> 8) / 2 ** 24;
  }
}

function randomTexts(count: number, longest: number): string[] {
  const random = numbers(7);
  const next = (below: number) => Math.floor(random.next().value * below);
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + next(longest) }, () => PIECES[next(PIECES.length)]).join(""),
  );
}

describe.each([
  ["Qwen3", QWEN3_DIR],
  ["the tiny chat model", TINY_CHAT_DIR],
])("byte pairs of %s", (_, dir) => {
  let own: BytePairs;
  let library: (text: string) => number[];

  beforeAll(async () => {
    const { bytePairs } = await readVocabulary(dir, {});
    own = bytePairs!;
    const json = JSON.parse(readFileSync(join(dir, "tokenizer.json"), "utf8"));
    const options = { ...json, added_tokens: [], post_processor: null, normalizer: null };
    const tokenizer = new PreTrainedTokenizer(options, {});
    library = (text) => tokenizer.encode(text, { add_special_tokens: false });
  });

  it("are those of the library for any mixture of scripts, spaces and marks", () => {
    for (const text of randomTexts(1500, 24)) {
      expect(own.encode(text), JSON.stringify(text)).toEqual(library(text));
    }
  });

  it("are those of the library for words of hundreds of letters", () => {
    const random = numbers(3);
    const letters = [..."abcdefghij的一了"];
    for (const length of [47, 48, 49, 50, 100, 700]) {
      const word = Array.from(
        { length },
        () => letters[Math.floor(random.next().value * letters.length)],
      ).join("");
      expect(own.encode(word)).toEqual(library(word));
      expect(own.encode("a".repeat(length))).toEqual(library("a".repeat(length)));
    }
  });

  it("are the same with pauses", async () => {
    for (const text of [randomTexts(1, 4000)[0]!, "ab".repeat(20_000), " ".repeat(9_999)]) {
      expect(await own.encodeInSlices(text, new TimeSlice())).toEqual(own.encode(text));
    }
  });

  it("stop when they are aborted", async () => {
    const reason = new Error("enough");
    const slice = new TimeSlice(AbortSignal.abort(reason));
    const text = randomTexts(1, 200_000)[0]!;
    await expect(own.encodeInSlices(text, slice)).rejects.toBe(reason);
  });
});

it("refuses a merge that makes no token", () => {
  const pairs = new BytePairs();
  pairs.addToken("a", 0);
  pairs.addToken("b", 1);
  expect(() => pairs.addMerge("a", "b")).toThrow('the merge of "a" and "b" makes no token');
});
