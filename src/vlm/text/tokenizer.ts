// The tokenizer of a checkpoint, and what its chat template says. The only file that imports @huggingface/transformers.
// In: tokenizer.json and the files beside it. Out: text to ids with special tokens switched off, ids by name, ids to bytes.
// It knows nothing of chats; it never touches the network.

import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import type { TimeSlice } from "../event-loop/time-slice.ts";
import { isObject, type JsonObject } from "../json-object.ts";
import { assertHost, nativeLibraryError } from "../native/native-library-error.ts";
import { spellingToBytes } from "./byte-alphabet.ts";
import {
  compareChatFormat,
  opensThought,
  readChatTemplate,
  type TemplateFeature,
} from "./chat-template.ts";
import { normalizeNfc } from "./nfc.ts";
import { templateRenderer } from "./render-template.ts";
import { corrupt, readOptionalJson } from "./tokenizer-files.ts";
import { type AddedToken, isNfc, readVocabulary, type Vocabulary } from "./vocabulary.ts";

/** Shorter texts are encoded in one go. */
const SHORT_TEXT = 1000;

/** Encoded text kept for the next turn of the same chat, counted in characters and ids. */
const ENCODED_TEXT_CACHE_SIZE = 1_000_000;

/** The end of a turn, the beginning of the next one, which is not the model's to write, and the end of a text. */
const ALWAYS_STOP = ["<|im_end|>", "<|im_start|>", "<|endoftext|>"];

/**
 * Loads the tokenizer of a checkpoint directory. Nothing is fetched.
 *
 * @throws {@link ModelLoadError} if tokenizer.json is missing, damaged or not byte-level BPE.
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const config = await readOptionalJson(dir, "tokenizer_config.json");
  const template = await readChatTemplate(dir, config);
  const names = templateTokens(config);
  try {
    const vocabulary = await readVocabulary(dir, config);
    const encoder = vocabulary.bytePairs ?? (await libraryEncoder(dir, vocabulary.json));
    // NFC is done by normalizeNfc, for the reason it gives.
    const nfc = isNfc(vocabulary.json.normalizer);
    const format = await readChatFormat(template, names);
    const normalize = nfc ? normalizeNfc : (text: string) => text;
    return new Tokenizer({
      ...vocabulary,
      ...format,
      encoder,
      normalize,
      eosToken: names.eos_token,
    });
  } catch (cause) {
    if (cause instanceof ModelLoadError) throw cause;
    throw corrupt(dir, `tokenizer.json cannot be used: ${messageOf(cause)}`, cause);
  }
}

/** The encoding of the general library, for vocabularies that are not cut as Qwen's are: slower, and in one go. */
async function libraryEncoder(dir: string, { normalizer }: JsonObject): Promise<Encoder> {
  const json = JSON.parse(await disk.readText(join(dir, "tokenizer.json")));
  const { PreTrainedTokenizer } = await loadTransformers();
  // Without added tokens, whatever people type is text.
  const plain = new PreTrainedTokenizer(
    {
      ...json,
      added_tokens: [],
      post_processor: null,
      normalizer: isNfc(normalizer) ? null : normalizer,
    },
    {},
  );
  const encode = (text: string): number[] => plain.encode(text, { add_special_tokens: false });
  return { encode, encodeInSlices: async (text) => encode(text) };
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

/** What turns normalised text into ids. */
interface Encoder {
  encode(text: string): readonly number[];
  encodeInSlices(text: string, slice: TimeSlice): Promise<readonly number[]>;
}

interface TokenizerParts extends Pick<Vocabulary, "spellings" | "added">, ChatTemplateFacts {
  readonly encoder: Encoder;
  readonly normalize: (text: string) => string;
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

  readonly #encoder: Encoder;
  readonly #normalize: (text: string) => string;
  readonly #spellings: readonly (string | undefined)[];
  readonly #idByName: ReadonlyMap<string, number>;
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #encoded = new LRUCache<string, readonly number[]>({
    maxSize: ENCODED_TEXT_CACHE_SIZE,
    sizeCalculation: (ids, text) => 1 + ids.length + text.length,
  });

  /** @internal */
  constructor(parts: TokenizerParts) {
    const { encoder, normalize, spellings, added, eosToken } = parts;
    this.#encoder = encoder;
    this.#normalize = normalize;
    this.#spellings = spellings;
    this.#idByName = new Map(added.map((token) => [token.content, token.id]));
    this.#addedById = new Map(added.map((token) => [token.id, token]));
    this.stopTokenIds = [...ALWAYS_STOP, eosToken].flatMap((name) => {
      const token = added.find(({ content, special }) => content === name && special);
      return token === undefined ? [] : [token.id];
    });
    this.size = added.reduce((size, { id }) => Math.max(size, id + 1), spellings.length);
    this.thinking = parts.thinking;
    this.templateDifferences = parts.templateDifferences;
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
      ids = this.#encoder.encode(this.#normalize(text));
      this.#encoded.set(text, ids);
    }
    return ids;
  }

  /** The same without holding up the event loop, however long the text is. */
  async encodeTextInSlices(text: string, slice: TimeSlice): Promise<readonly number[]> {
    if (text.length < SHORT_TEXT) return this.encodeText(text);
    let ids = this.#encoded.get(text);
    if (ids === undefined) {
      ids = await this.#encoder.encodeInSlices(this.#normalize(text), slice);
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

  /** Is this a token of its own, outside the byte-pair encoding? Text never becomes one. */
  isAdded(id: number): boolean {
    return this.#addedById.has(id);
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

interface ChatTemplateFacts {
  readonly thinking: boolean;
  readonly templateDifferences: readonly TemplateFeature[];
}

/** What the template of a checkpoint says, found out by rendering it. */
async function readChatFormat(
  template: string | undefined,
  names: Readonly<Record<string, string>>,
): Promise<ChatTemplateFacts> {
  if (template === undefined) return { thinking: false, templateDifferences: [] };
  const render = templateRenderer(template, names);
  const thinking = opensThought(render);
  return { thinking, templateDifferences: await compareChatFormat(render, thinking) };
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
