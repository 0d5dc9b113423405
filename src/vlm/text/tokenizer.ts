// The tokenizer of a checkpoint, and what its chat template says. The only file that imports @huggingface/transformers.
// In: tokenizer.json and the files beside it. Out: text to ids with special tokens switched off, ids by name, ids to bytes.
// It knows nothing of chats; it never touches the network.

import { join } from "node:path";
import type { PreTrainedTokenizer } from "@huggingface/transformers";
import { LRUCache } from "lru-cache";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import { assertHost, nativeLibraryError } from "../native/native-library-error.ts";
import { BYTE_CHARACTERS, spellingToBytes } from "./byte-alphabet.ts";
import {
  compareChatFormat,
  opensThought,
  type RenderTemplate,
  readChatTemplate,
  type TemplateFeature,
} from "./chat-template.ts";
import { normalizeNfc } from "./nfc.ts";

/** Encoded text kept for the next turn of the same chat, counted in characters and ids. */
const ENCODED_TEXT_CACHE_SIZE = 1_000_000;

/** Without these tokens no prompt can be written. */
const REQUIRED = [
  "<|im_start|>",
  "<|im_end|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|image_pad|>",
];

/** The end of a turn, the beginning of the next one, which is not the model's to write, and the end of a text. */
const ALWAYS_STOP = ["<|im_end|>", "<|im_start|>", "<|endoftext|>"];

type JsonObject = Readonly<Record<string, unknown>>;

/** A token of its own, outside the byte-pair encoding. */
interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Never shown to people. */
  readonly special: boolean;
}

/**
 * Loads the tokenizer of a checkpoint directory. Nothing is fetched.
 *
 * @throws {@link ModelLoadError} if tokenizer.json is missing, damaged or not byte-level BPE.
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const [json, config] = await Promise.all([
    readJson(dir, "tokenizer.json"),
    readJson(dir, "tokenizer_config.json", {}),
  ]);
  const template = await readChatTemplate(dir, config);
  const { PreTrainedTokenizer } = await loadTransformers();
  try {
    const vocabulary = readVocabulary(dir, json, config);
    // Without added tokens, whatever people type is text. NFC is done by normalizeNfc, for the reason it gives.
    const plain = new PreTrainedTokenizer(
      {
        ...json,
        added_tokens: [],
        post_processor: null,
        normalizer: isNfc(json.normalizer) ? null : json.normalizer,
      },
      templateTokens(config),
    );
    const normalize = isNfc(json.normalizer) ? normalizeNfc : (text: string) => text;
    const eosToken = templateTokens(config).eos_token;
    return new Tokenizer({ plain, normalize, template, eosToken, ...vocabulary });
  } catch (cause) {
    if (cause instanceof ModelLoadError) throw cause;
    throw corrupt(dir, `tokenizer.json cannot be used: ${messageOf(cause)}`, cause);
  }
}

/**
 * Imports @huggingface/transformers: late, because it takes 0.3 s and brings native libraries that only a model needs.
 *
 * @throws NativeLibraryError that says why one of them cannot be loaded and what to do.
 *
 * @internal
 */
export async function loadTransformers(): Promise<typeof import("@huggingface/transformers")> {
  assertHost();
  try {
    return await import("@huggingface/transformers");
  } catch (error) {
    throw nativeLibraryError({ part: "@huggingface/transformers", error });
  }
}

interface TokenizerParts {
  readonly plain: PreTrainedTokenizer;
  readonly normalize: (text: string) => string;
  readonly template: string | undefined;
  /** Spelling of each token of the byte-pair encoding, by id. */
  readonly spellings: readonly (string | undefined)[];
  readonly added: readonly AddedToken[];
  /** `eos_token` of tokenizer_config.json. */
  readonly eosToken: string | undefined;
}

/** Text to ids and back, over one vocabulary. Made by {@link loadTokenizer}. */
export class Tokenizer {
  /** One more than the highest id that stands for a token. Logits may have more rows. */
  readonly size: number;
  /** The chat template opens a thought: the output begins inside it. */
  readonly thinking: boolean;
  /** Parts of the chat format that the checkpoint's own template writes in another way; empty if it has none. */
  readonly templateDifferences: readonly TemplateFeature[];
  /** Tokens that end an answer in the chat format, whatever the settings of the checkpoint name. */
  readonly stopTokenIds: readonly number[];

  readonly #plain: PreTrainedTokenizer;
  readonly #normalize: (text: string) => string;
  readonly #spellings: readonly (string | undefined)[];
  readonly #idByName: ReadonlyMap<string, number>;
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #encoded = new LRUCache<string, readonly number[]>({
    maxSize: ENCODED_TEXT_CACHE_SIZE,
    sizeCalculation: (ids, text) => 1 + ids.length + text.length,
  });

  /** @internal */
  constructor({ plain, normalize, template, spellings, added, eosToken }: TokenizerParts) {
    this.#plain = plain;
    this.#normalize = normalize;
    this.#spellings = spellings;
    this.#idByName = new Map(added.map((token) => [token.content, token.id]));
    this.#addedById = new Map(added.map((token) => [token.id, token]));
    this.stopTokenIds = [...ALWAYS_STOP, eosToken].flatMap((name) => {
      const token = added.find(({ content, special }) => content === name && special);
      return token === undefined ? [] : [token.id];
    });
    this.size = added.reduce((size, { id }) => Math.max(size, id + 1), spellings.length);
    const render = template === undefined ? undefined : templateRenderer(plain, template);
    this.thinking = render !== undefined && opensThought(render);
    this.templateDifferences = render ? compareChatFormat(render, this.thinking) : [];
  }

  /** Does our chat format write what the checkpoint's own template would? True without a template. */
  get templateMatches(): boolean {
    return this.templateDifferences.length === 0;
  }

  /** Encodes text as text: `<|im_end|>` typed by a person is seven characters and never a token of the chat format. */
  encodeText(text: string): readonly number[] {
    if (text === "") return [];
    let ids = this.#encoded.get(text);
    if (ids === undefined) {
      ids = this.#plain.encode(this.#normalize(text), { add_special_tokens: false });
      this.#encoded.set(text, ids);
    }
    return ids;
  }

  /** Id of a token by name, such as `<|image_pad|>`; undefined if the vocabulary has none. */
  findSpecial(name: string): number | undefined {
    return this.#idByName.get(name);
  }

  /**
   * Id of a token by name, such as `<|image_pad|>`.
   * @throws {@link ModelLoadError} if the vocabulary has none.
   */
  specialId(name: string): number {
    const id = this.findSpecial(name);
    if (id !== undefined) return id;
    throw new ModelLoadError("model-unsupported", `The tokenizer has no token ${name}.`);
  }

  /** Is this a token that people never see, such as `<|im_end|>`? `</think>` and `<tool_call>` are not. */
  isSpecial(id: number): boolean {
    return this.#addedById.get(id)?.special ?? false;
  }

  /** The bytes a token stands for, perhaps a part of a character; none for an id without a token. */
  tokenBytes(id: number): Uint8Array {
    const added = this.#addedById.get(id);
    if (added) return Buffer.from(added.content, "utf8");
    const spelling = this.#spellings[id];
    if (spelling === undefined) return new Uint8Array();
    // A spelling outside the byte alphabet is its own text.
    return spellingToBytes(spelling) ?? Buffer.from(spelling, "utf8");
  }

  /** The text of a sequence, tokens that people never see left out. */
  decode(ids: Iterable<number>): string {
    const bytes = Array.from(ids, (id) =>
      this.isSpecial(id) ? new Uint8Array() : this.tokenBytes(id),
    );
    return Buffer.concat(bytes).toString("utf8");
  }
}

function templateRenderer(plain: PreTrainedTokenizer, template: string): RenderTemplate {
  return ({ messages, tools, addVisionIds }) =>
    plain.apply_chat_template([...messages] as Parameters<typeof plain.apply_chat_template>[0], {
      chat_template: template,
      add_generation_prompt: true,
      tokenize: false,
      tools: tools ? [...tools] : null,
      ...{ add_vision_id: addVisionIds ?? false },
    });
}

/** Checks what must hold for byte-level BPE, so that encoding can never meet a text it has no tokens for. */
function readVocabulary(
  dir: string,
  json: JsonObject,
  config: JsonObject,
): Pick<TokenizerParts, "spellings" | "added"> {
  const model = json.model;
  if (!isObject(model) || model.type !== "BPE" || !isObject(model.vocab)) {
    throw unsupported(dir, "Expected tokenizer.json to hold a BPE model.");
  }
  const spellings: (string | undefined)[] = [];
  for (const [spelling, id] of Object.entries(model.vocab))
    spellings[toId(id, spelling)] = spelling;
  const vocab = model.vocab;
  if (!BYTE_CHARACTERS.every((character) => character in vocab)) {
    throw unsupported(
      dir,
      "Expected a byte-level tokenizer with a token for each of the 256 bytes.",
    );
  }
  const added = readAddedTokens(json, config);
  const names = new Set(added.map((token) => token.content));
  const missing = REQUIRED.filter((name) => !names.has(name));
  if (missing.length > 0) {
    throw unsupported(dir, `The tokenizer lacks the tokens ${missing.join(", ")} of Qwen3-VL.`);
  }
  return { spellings, added };
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

/** What chat templates may ask for by name, each a string or an object with `content`. */
function templateTokens(config: JsonObject): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "pad_token", "unk_token"]) {
    const value = config[name];
    const content = isObject(value) ? value.content : value;
    if (typeof content === "string") tokens[name] = content;
  }
  return tokens;
}

async function readJson(dir: string, file: string, missing?: JsonObject): Promise<JsonObject> {
  let text: string;
  try {
    text = await disk.readText(join(dir, file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    if (missing) return missing;
    throw new ModelLoadError("model-files-missing", `${file} is missing in the model directory.`, {
      cause,
      modelDir: dir,
      missing: [file],
    });
  }
  try {
    const json: unknown = JSON.parse(text);
    if (isObject(json)) return json;
  } catch (cause) {
    throw corrupt(dir, `${file} is not valid JSON.`, cause);
  }
  throw corrupt(dir, `${file} is not a JSON object.`);
}

function isNfc(normalizer: unknown): boolean {
  return isObject(normalizer) && normalizer.type === "NFC";
}

function unsupported(dir: string, message: string): ModelLoadError {
  return new ModelLoadError("model-unsupported", message, { modelDir: dir });
}

function corrupt(dir: string, message: string, cause?: unknown): ModelLoadError {
  return new ModelLoadError("model-corrupt", message, { cause, modelDir: dir });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
