// A tokenizer with as many tokens as Qwen3's and made-up words in it, so that a benchmark needs no download.
// Out: tokenizer.json. Every word of `wordAt`, written with a space before it, is exactly one token.

import { BYTE_CHARACTERS } from "../../vlm/text/byte-alphabet.ts";

/** First id of the tokens outside the byte-pair encoding, as in Qwen3. */
export const FIRST_ADDED_ID = 151_643;

/** In the order of their ids. */
export const ADDED_TOKENS = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<|object_ref_start|>",
  "<|object_ref_end|>",
  "<|box_start|>",
  "<|box_end|>",
  "<|quad_start|>",
  "<|quad_end|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|vision_pad|>",
  "<|image_pad|>",
  "<|video_pad|>",
  "<tool_call>",
  "</tool_call>",
  "<|fim_prefix|>",
  "<|fim_middle|>",
  "<|fim_suffix|>",
  "<|fim_pad|>",
  "<|repo_name|>",
  "<|file_sep|>",
  "<tool_response>",
  "</tool_response>",
  "<think>",
  "</think>",
];
const SHOWN = new Set(["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]);
const THOUGHT = new Set(["<think>", "</think>"]);

/** The byte alphabet's spelling of a space. */
const SPACE = "Ġ";
const SYLLABLES = [..."bcdfghjklmnpqrstvwxyz"].flatMap((consonant) =>
  [..."aeiou"].map((vowel) => consonant + vowel),
);

/** Words of two syllables. */
export const WORD_COUNT = SYLLABLES.length ** 2;

export function wordAt(index: number): string {
  const first = SYLLABLES[Math.floor(index / SYLLABLES.length) % SYLLABLES.length];
  return `${first}${SYLLABLES[index % SYLLABLES.length]}`;
}

/** The text of tokenizer.json. */
export function tokenizerJson(): string {
  const vocab: Record<string, number> = {};
  const merges: [string, string][] = [];
  for (const [id, character] of BYTE_CHARACTERS.entries()) vocab[character] = id;
  let size = BYTE_CHARACTERS.length;
  const merge = (left: string, right: string) => {
    vocab[left + right] = size++;
    merges.push([left, right]);
  };
  const words = Array.from({ length: WORD_COUNT }, (_, index) => wordAt(index));
  for (const [consonant, vowel] of SYLLABLES.map((syllable) => [...syllable])) {
    merge(consonant!, vowel!);
  }
  for (const word of words) merge(word.slice(0, 2), word.slice(2));
  for (const word of words) merge(SPACE, word);
  // Long words fill the vocabulary up to its size; nothing that is asked contains them, answers do.
  for (let index = 0; size < FIRST_ADDED_ID; index++) {
    merge(words[Math.floor(index / WORD_COUNT)]!, words[index % WORD_COUNT]!);
  }
  return JSON.stringify({
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: ADDED_TOKENS.map((content, index) => ({
      id: FIRST_ADDED_ID + index,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: !(SHOWN.has(content) || THOUGHT.has(content)),
    })),
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: QWEN_SPLIT },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  });
}

const QWEN_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
