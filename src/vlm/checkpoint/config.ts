// config.json of a Qwen3-VL checkpoint, both spellings (transformers 4.57 and 5.x). Out: the sizes everything
// else is built from. What the file leaves open, or tells otherwise than the stored tensors, is settled by the facts
// that those show, and said; what this project cannot run is refused here, in one sentence.

import { ModelLoadError } from "../errors.ts";
import { JsonFields } from "./json-fields.ts";
import { parseRope } from "./rope-config.ts";
import type { Assume, StoredFacts } from "./stored-facts.ts";

/** Sizes of the text decoder. */
export interface TextConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** How many of the headSize / 2 frequencies follow time, height and width. */
  readonly mropeSection: readonly [t: number, h: number, w: number];
  readonly maxPositionEmbeddings: number;
  /** Stop tokens named in config.json; `generation_config.json` goes before these. May be empty. */
  readonly eosTokenIds: readonly number[];
}

/** Sizes of the vision encoder. */
export interface VisionConfig {
  readonly depth: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly headSize: number;
  /** Pixels on a side. */
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  /** Patches on a side of one image token. */
  readonly mergeSize: number;
  readonly inChannels: number;
  readonly outHiddenSize: number;
  /** Rows on a side of the learned position table. */
  readonly positionGridSize: number;
  /** Blocks whose output is tapped, ascending; entry K feeds decoder layer K. */
  readonly deepstackLayers: readonly number[];
  readonly ropeTheta: number;
}

export interface Qwen3VlConfig {
  readonly text: TextConfig;
  readonly vision: VisionConfig;
  readonly tiedEmbeddings: boolean;
  readonly imageTokenId: number;
  readonly videoTokenId: number;
  readonly visionStartTokenId: number;
  readonly visionEndTokenId: number;
}

// Class defaults of transformers 4.57, for fields a file may leave out.
const DEFAULT_HEAD_SIZE = 128;
const DEFAULT_MAX_POSITIONS = 262_144;
const DEFAULT_VISION_ROPE_THETA = 10_000;

/** What is known besides config.json, and who is told what was assumed. */
export interface ConfigContext {
  /** What the stored tensors show; left out for a package, whose config.json needs no mending. */
  readonly stored?: StoredFacts;
  /** The tensors are not known yet, and settle later how they are quantised. @default false */
  readonly weightsComing?: boolean;
  readonly assume?: Assume;
}

/**
 * Reads a parsed config.json.
 *
 * @param where what to call the file in messages, such as `config.json`
 * @throws ModelLoadError `model-unsupported` for another kind of model, `model-corrupt` for wrong values
 */
export function parseConfig(
  json: unknown,
  where: string,
  { stored, weightsComing = false, assume = () => {} }: ConfigContext = {},
): Qwen3VlConfig {
  const top = new JsonFields(json, where);
  refuseOtherModels(top);
  if (!weightsComing) refuseQuantized(top, stored, assume);
  const text = parseText(top.object("text_config"), top, stored, assume);
  const vision = parseVision(top.object("vision_config"), text);
  const tokenId = (name: string) =>
    top.number(name, { integer: true, min: 0, max: text.vocabSize - 1 });
  return {
    text,
    vision,
    tiedEmbeddings: parseTied(top, stored, assume),
    imageTokenId: tokenId("image_token_id"),
    videoTokenId: tokenId("video_token_id"),
    visionStartTokenId: tokenId("vision_start_token_id"),
    visionEndTokenId: tokenId("vision_end_token_id"),
  };
}

/**
 * config.json as it would have to be for a reader that sees no tensors: with what the tensors settled written in.
 *
 * @returns the parsed file with its changes, or undefined when it needs none
 */
export function mendConfig(json: unknown, config: Qwen3VlConfig): unknown {
  const top = new JsonFields(json, "config.json");
  const text = top.object("text_config");
  const needsNone =
    !top.has("quantization_config") &&
    !text.has("quantization_config") &&
    text.integer("vocab_size", 1, config.text.vocabSize) === config.text.vocabSize &&
    text.integer("head_dim", 2, DEFAULT_HEAD_SIZE) === config.text.headSize &&
    (tieFlag(top) ?? tieFlag(text) ?? false) === config.tiedEmbeddings;
  if (needsNone) return undefined;
  const { quantization_config: _, text_config, ...rest } = json as Record<string, object>;
  const { quantization_config: __, ...textRest } = text_config as Record<string, object>;
  const { headSize: head_dim, vocabSize: vocab_size } = config.text;
  return {
    ...rest,
    tie_word_embeddings: config.tiedEmbeddings,
    text_config: { ...textRest, head_dim, vocab_size },
  };
}

function refuseOtherModels(top: JsonFields): void {
  const modelType = top.string("model_type");
  const textType = top.objectOrUndefined("text_config")?.stringOrUndefined("model_type");
  if (modelType.includes("moe") || textType?.includes("moe")) {
    throw unsupported(
      `This is a mixture-of-experts checkpoint (${modelType}); only dense Qwen3-VL checkpoints (2B, 4B, 8B) can be used.`,
    );
  }
  if (modelType !== "qwen3_vl") {
    throw unsupported(
      `This is a checkpoint of type ${modelType}; only Qwen3-VL (qwen3_vl) can be used.`,
    );
  }
}

/** The tensors decide: what is quantised in a way that is known here was put together before. Tools that merge a 4-bit training into 16 bits often leave its settings behind. */
function refuseQuantized(top: JsonFields, stored: StoredFacts | undefined, assume: Assume): void {
  const holder = [top, top.objectOrUndefined("text_config")].find((fields) =>
    fields?.has("quantization_config"),
  );
  if (holder === undefined && stored?.quantized === undefined) return;
  const said = holder?.stringInside("quantization_config", "quant_method");
  // Parts of methods that nobody knows here have names that nobody knows.
  const shows = stored?.quantized?.tensor ?? stored?.strangePart;
  if (stored === undefined || shows !== undefined) {
    const method = said ?? stored?.quantized?.method ?? "an unknown method";
    const shown = shows === undefined ? "" : `, as ${shows} shows`;
    throw unsupported(
      `This checkpoint is quantised already (${method})${shown}; use the bf16 checkpoint, the converter quantises it.`,
    );
  }
  if (stored.decoded.length > 0) return;
  assume(
    `quantization_config of ${top.where} (${said ?? "no quant_method"}) is ignored: all weights are stored as plain ${stored.dtypes.join(", ")}.`,
  );
}

/** A head that nobody stored is the embedding table, unless the files say clearly that it is not. */
function parseTied(top: JsonFields, stored: StoredFacts | undefined, assume: Assume): boolean {
  const flags = [tieFlag(top), tieFlag(top.object("text_config"))];
  const said = flags[0] ?? flags[1];
  if (said === true || stored === undefined || stored.hasHead) return said ?? false;
  const denied = said === false && flags[1] !== true;
  if (denied || stored.promisesHead) {
    throw new ModelLoadError(
      "model-corrupt",
      `tie_word_embeddings of ${top.where} is ${said ?? "not given"}, and no lm_head.weight is stored. ` +
        "Copy lm_head.weight from the base model, or set tie_word_embeddings to true if that one has none (2B, 4B).",
      { missing: ["lm_head.weight"] },
    );
  }
  const reason =
    said === undefined ? "is not given" : "is false at the top and true in text_config";
  assume(
    `tie_word_embeddings of ${top.where} ${reason}, and no lm_head.weight is stored: the embedding table is the head.`,
  );
  return true;
}

function tieFlag(fields: JsonFields): boolean | undefined {
  return fields.has("tie_word_embeddings")
    ? fields.boolean("tie_word_embeddings", false)
    : undefined;
}

function parseText(
  text: JsonFields,
  top: JsonFields,
  stored: StoredFacts | undefined,
  assume: Assume,
): TextConfig {
  const heads = text.integer("num_attention_heads", 1);
  const kvHeads = text.integer("num_key_value_heads", 1, heads);
  if (heads % kvHeads !== 0) {
    throw text.wrong("num_key_value_heads", `a divisor of num_attention_heads (${heads})`);
  }
  const headSize = text.integer("head_dim", 2, stored?.headSize ?? DEFAULT_HEAD_SIZE);
  if (headSize % 2 !== 0) throw text.wrong("head_dim", "even");
  if (stored?.headSize !== undefined && stored.headSize !== headSize) {
    throw text.wrong("head_dim", `${stored.headSize}, the length of the stored q_norm.weight`);
  }
  requireConstant(text, "hidden_act", "silu");
  if (text.boolean("attention_bias", false)) {
    throw unsupported(`${text.where} has attention_bias true; Qwen3-VL decoders have no biases.`);
  }
  const vocabSize = parseVocabularySize(text, stored, assume);
  return {
    vocabSize,
    hiddenSize: text.integer("hidden_size", 1),
    intermediateSize: text.integer("intermediate_size", 1),
    layers: text.integer("num_hidden_layers", 1),
    heads,
    kvHeads,
    headSize,
    rmsNormEps: text.number("rms_norm_eps", { above: 0 }, 1e-6),
    ...parseRope(text, top, headSize, assume),
    maxPositionEmbeddings: text.integer("max_position_embeddings", 1, DEFAULT_MAX_POSITIONS),
    eosTokenIds: parseEos(text, vocabSize, assume) ?? parseEos(top, vocabSize, assume) ?? [],
  };
}

/** Trainings that add tokens lengthen the table, and not all of them write down its new length. */
function parseVocabularySize(
  text: JsonFields,
  stored: StoredFacts | undefined,
  assume: Assume,
): number {
  const said = text.integer("vocab_size", 1);
  const rows = stored?.vocabularyRows ?? said;
  if (rows !== said) {
    assume(
      `vocab_size of ${text.where} is ${said}, the embedding table has ${rows} rows: ${rows} is used.`,
    );
  }
  return rows;
}

/** No stop token makes a model unusable: `<|im_end|>` ends an answer whatever the files name. */
function parseEos(fields: JsonFields, vocabSize: number, assume: Assume): number[] | undefined {
  if (!fields.has("eos_token_id")) return undefined;
  return fields.tokenIds("eos_token_id", vocabSize - 1, assume);
}

function parseVision(vision: JsonFields, text: TextConfig): VisionConfig {
  const hiddenSize = vision.integer("hidden_size", 1);
  const heads = vision.integer("num_heads", 1);
  const headSize = hiddenSize / heads;
  if (!Number.isInteger(headSize) || headSize % 4 !== 0) {
    throw vision.wrong(
      "num_heads",
      `such that hidden_size (${hiddenSize}) gives heads of a multiple of 4`,
    );
  }
  requireConstant(vision, "hidden_act", "gelu_pytorch_tanh");
  const outHiddenSize = vision.integer("out_hidden_size", 1);
  if (outHiddenSize !== text.hiddenSize) {
    throw vision.wrong("out_hidden_size", `the decoder's hidden_size (${text.hiddenSize})`);
  }
  const positionGridSize = Math.sqrt(vision.integer("num_position_embeddings", 1));
  if (!Number.isInteger(positionGridSize)) {
    throw vision.wrong("num_position_embeddings", "a square number");
  }
  const depth = vision.integer("depth", 1);
  const rope = vision.objectOrUndefined("rope_parameters");
  return {
    depth,
    hiddenSize,
    intermediateSize: vision.integer("intermediate_size", 1),
    heads,
    headSize,
    patchSize: vision.integer("patch_size", 1),
    temporalPatchSize: vision.integer("temporal_patch_size", 1, 2),
    mergeSize: vision.integer("spatial_merge_size", 1, 2),
    inChannels: vision.integer("in_channels", 1, 3),
    outHiddenSize,
    positionGridSize,
    deepstackLayers: parseDeepstack(vision, depth, text.layers),
    ropeTheta:
      rope?.number("rope_theta", { above: 0 }, DEFAULT_VISION_ROPE_THETA) ??
      DEFAULT_VISION_ROPE_THETA,
  };
}

function parseDeepstack(vision: JsonFields, depth: number, decoderLayers: number): number[] {
  const name = "deepstack_visual_indexes";
  const layers = vision.numbers(name, { integer: true, min: 0, max: depth - 1 });
  const ascending = layers.every((layer, i) => i === 0 || layer > (layers[i - 1] as number));
  if (layers.length === 0 || layers.length > decoderLayers || !ascending) {
    throw vision.wrong(name, `1 to ${decoderLayers} ascending block numbers`);
  }
  return layers;
}

function requireConstant(fields: JsonFields, name: string, only: string): void {
  const value = fields.stringOrUndefined(name) ?? only;
  if (value !== only) {
    throw unsupported(`${fields.where} has ${name} ${value}; only ${only} can be used.`);
  }
}

function unsupported(message: string): ModelLoadError {
  return new ModelLoadError("model-unsupported", message);
}
