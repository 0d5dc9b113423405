import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  FIRST_ADDED_ID,
  tokenizerJson,
  WORD_COUNT,
  wordAt,
} from "../../../src/cli/bench/synthetic-tokenizer.ts";
import { loadTokenizer } from "../../../src/vlm/text/tokenizer.ts";
import { tempDir } from "../../support/temp-dir.ts";

it("is a vocabulary of Qwen3's size in which every word is one token", async () => {
  const dir = await tempDir();
  await writeFile(join(dir, "tokenizer.json"), tokenizerJson());
  const tokenizer = await loadTokenizer(dir);
  expect(tokenizer.size).toBe(151_669);
  expect(tokenizer.specialId("<|endoftext|>")).toBe(FIRST_ADDED_ID);
  expect(tokenizer.specialId("<|im_end|>")).toBe(151_645);
  expect(tokenizer.specialId("<|image_pad|>")).toBe(151_655);

  const words = Array.from({ length: 500 }, (_, i) => ` ${wordAt((i * 7919) % WORD_COUNT)}`);
  const ids = tokenizer.encodeText(words.join(""));
  expect(ids).toHaveLength(words.length);
  expect(new Set(ids).size).toBe(new Set(words).size);
  expect(tokenizer.decode(ids)).toBe(words.join(""));
});
