// What tokenizer.json and tokenizer_config.json say about tokens, read in slices. Out: spellings, tokens of their own,
// and, where the file describes the byte-pair encoding of Qwen, that encoding. It knows no chats and no templates.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import { TimeSlice } from "../event-loop/time-slice.ts";
import { isObject, type JsonObject } from "../json-object.ts";
import { BYTE_CHARACTERS } from "./byte-alphabet.ts";
import { BytePairs, QWEN_WORDS } from "./byte-pairs.ts";
import { readLargeJson } from "./large-json.ts";
import { corrupt, missingFile, unsupported } from "./tokenizer-files.ts";

/** Without these tokens no prompt can be written. */
const REQUIRED = [
  "<|im_start|>",
  "<|im_end|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|image_pad|>",
];

/** A token of its own, outside the byte-pair encoding. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Never shown to people. */
  readonly special: boolean;
}

export interface Vocabulary {
  /** Spelling of each token of the byte-pair encoding, by id. */
  readonly spellings: readonly (string | undefined)[];
  readonly added: readonly AddedToken[];
  /** tokenizer.json without its tokens and merges. */
  readonly json: JsonObject;
  /** Undefined where the file describes another encoding than Qwen's; the library knows more of them. */
  readonly bytePairs: BytePairs | undefined;
}

/**
 * Reads the vocabulary and checks what must hold for byte-level BPE, so that encoding can never meet a text it has no
 * tokens for.
 *
 * @throws ModelLoadError when a file is missing, damaged, or describes another kind of tokenizer
 * @throws Error that says which token is wrong
 */
export async function readVocabulary(dir: string, config: JsonObject): Promise<Vocabulary> {
  const slice = new TimeSlice();
  const spellings: (string | undefined)[] = [];
  const merges: unknown[] = [];
  const bytePairs = new BytePairs();
  const json = await readTokenizerJson(
    dir,
    (piece) => {
      for (const [spelling, id] of Object.entries(piece)) {
        spellings[toId(id, spelling)] = spelling;
        bytePairs.addToken(spelling, id as number);
      }
    },
    (piece) => {
      for (const merge of Object.values(piece)) merges.push(merge);
    },
    slice,
  );
  if (!isObject(json.model) || json.model.type !== "BPE" || !isObject(json.model.vocab)) {
    throw unsupported(dir, "Expected tokenizer.json to hold a BPE model.");
  }
  if (!bytePairs.hasEveryByte) {
    const expected = `a token for each of the ${BYTE_CHARACTERS.length} bytes`;
    throw unsupported(dir, `Expected a byte-level tokenizer with ${expected}.`);
  }
  const added = readAddedTokens(json, config);
  const names = new Set(added.map((token) => token.content));
  const missing = REQUIRED.filter((name) => !names.has(name));
  if (missing.length > 0) {
    throw unsupported(dir, `The tokenizer lacks the tokens ${missing.join(", ")} of Qwen3-VL.`);
  }
  if (!isQwenEncoding(json)) return { spellings, added, json, bytePairs: undefined };
  for (const merge of merges) {
    bytePairs.addMerge(...mergeOf(merge));
    if (slice.over) await slice.rest();
  }
  bytePairs.finish();
  return { spellings, added, json, bytePairs };
}

type TakePiece = (piece: Readonly<Record<string, unknown>> | readonly unknown[]) => void;

async function readTokenizerJson(
  dir: string,
  takeTokens: TakePiece,
  takeMerges: TakePiece,
  slice: TimeSlice,
): Promise<JsonObject> {
  const file = "tokenizer.json";
  let bytes: Buffer;
  try {
    bytes = await disk.readBytes(join(dir, file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw missingFile(dir, file, cause);
  }
  const parts = [
    { path: ["model", "vocab"], take: takeTokens },
    { path: ["model", "merges"], take: takeMerges },
  ];
  let json: unknown;
  try {
    json = await readLargeJson(bytes, parts, slice);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw corrupt(dir, `${file} is not valid JSON.`, cause);
  }
  if (isObject(json)) return json;
  throw corrupt(dir, `${file} is not a JSON object.`);
}

/** Is it the one encoding that all of Qwen's models have, in every part that matters? */
function isQwenEncoding({ model, pre_tokenizer: cutting, normalizer }: JsonObject): boolean {
  if (!isObject(model) || !isObject(cutting)) return false;
  const plainModel =
    isNothing(model.dropout) &&
    isNothing(model.continuing_subword_prefix) &&
    isNothing(model.end_of_word_suffix) &&
    isNothing(model.ignore_merges) &&
    isNothing(model.byte_fallback);
  const steps: readonly unknown[] = Array.isArray(cutting.pretokenizers)
    ? cutting.pretokenizers
    : [];
  const [split, bytes] = steps;
  return (
    plainModel &&
    (isNothing(normalizer) || isNfc(normalizer)) &&
    cutting.type === "Sequence" &&
    steps.length === 2 &&
    isObject(split) &&
    split.type === "Split" &&
    isObject(split.pattern) &&
    split.pattern.Regex === QWEN_WORDS &&
    split.behavior === "Isolated" &&
    isNothing(split.invert) &&
    isObject(bytes) &&
    bytes.type === "ByteLevel" &&
    bytes.add_prefix_space === false &&
    bytes.use_regex === false
  );
}

export function isNfc(normalizer: unknown): boolean {
  return isObject(normalizer) && normalizer.type === "NFC";
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || value === false || value === "";
}

/** Both spellings: `["a", "b"]` and `"a b"`. */
function mergeOf(merge: unknown): [string, string] {
  const pair: readonly unknown[] = typeof merge === "string" ? merge.split(" ") : asList(merge);
  const [left, right] = pair;
  if (pair.length === 2 && typeof left === "string" && typeof right === "string") {
    return [left, right];
  }
  throw new Error(`a merge is ${JSON.stringify(merge)}`);
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Those of tokenizer.json, and those that only tokenizer_config.json knows. */
function readAddedTokens(json: JsonObject, config: JsonObject): AddedToken[] {
  const tokens = new Map<string, AddedToken>();
  const add = (token: unknown, givenId: unknown): void => {
    if (!isObject(token) || typeof token.content !== "string") {
      throw new Error("an added token has no content");
    }
    const content = token.content;
    if (tokens.has(content)) return;
    tokens.set(content, {
      content,
      id: toId(givenId, content),
      special: token.special === true,
    });
  };
  const listed = json.added_tokens ?? [];
  if (!Array.isArray(listed)) throw new Error("added_tokens is not a list");
  for (const token of listed as unknown[]) add(token, isObject(token) ? token.id : undefined);
  const decoder = config.added_tokens_decoder;
  if (isObject(decoder)) for (const [id, token] of Object.entries(decoder)) add(token, Number(id));
  return [...tokens.values()];
}

function toId(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31) {
    return value as number;
  }
  throw new Error(`the id of the token ${JSON.stringify(name)} is ${JSON.stringify(value)}`);
}
