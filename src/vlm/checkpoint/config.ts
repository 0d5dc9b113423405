// config.json of a Qwen3-VL checkpoint, both spellings (transformers 4.57 and 5.x). Out: the sizes everything
// else is built from. Knows no tensors; what this project cannot run is refused here, in one sentence.

import { ModelLoadError } from "../errors.ts";
import { JsonFields } from "./json-fields.ts";

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
const DEFAULT_ROPE_THETA = 5_000_000;
const DEFAULT_MROPE_SECTION = [24, 20, 20] as const;
const DEFAULT_MAX_POSITIONS = 262_144;
const DEFAULT_VISION_ROPE_THETA = 10_000;

/**
 * Reads a parsed config.json.
 *
 * @param where what to call the file in messages, such as `config.json`
 * @throws ModelLoadError `model-unsupported` for another kind of model, `model-corrupt` for wrong values
 */
export function parseConfig(json: unknown, where: string): Qwen3VlConfig {
  const top = new JsonFields(json, where);
  refuseOtherModels(top);
  const textFields = top.object("text_config");
  const text = parseText(textFields, top);
  const vision = parseVision(top.object("vision_config"), text);
  const tokenId = (name: string) =>
    top.number(name, { integer: true, min: 0, max: text.vocabSize - 1 });
  return {
    text,
    vision,
    tiedEmbeddings: top.boolean(
      "tie_word_embeddings",
      textFields.boolean("tie_word_embeddings", false),
    ),
    imageTokenId: tokenId("image_token_id"),
    videoTokenId: tokenId("video_token_id"),
    visionStartTokenId: tokenId("vision_start_token_id"),
    visionEndTokenId: tokenId("vision_end_token_id"),
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
  const quantization =
    top.objectOrUndefined("quantization_config") ??
    top.objectOrUndefined("text_config")?.objectOrUndefined("quantization_config");
  if (quantization !== undefined) {
    const method = quantization.stringOrUndefined("quant_method") ?? "an unknown method";
    throw unsupported(
      `This checkpoint is quantised already (${method}); use the bf16 checkpoint, the converter quantises it.`,
    );
  }
}

function parseText(text: JsonFields, top: JsonFields): TextConfig {
  const heads = text.integer("num_attention_heads", 1);
  const kvHeads = text.integer("num_key_value_heads", 1, heads);
  if (heads % kvHeads !== 0) {
    throw text.wrong("num_key_value_heads", `a divisor of num_attention_heads (${heads})`);
  }
  const headSize = text.integer("head_dim", 2, DEFAULT_HEAD_SIZE);
  if (headSize % 2 !== 0) throw text.wrong("head_dim", "even");
  requireConstant(text, "hidden_act", "silu");
  if (text.boolean("attention_bias", false)) {
    throw unsupported(`${text.where} has attention_bias true; Qwen3-VL decoders have no biases.`);
  }
  const vocabSize = text.integer("vocab_size", 1);
  return {
    vocabSize,
    hiddenSize: text.integer("hidden_size", 1),
    intermediateSize: text.integer("intermediate_size", 1),
    layers: text.integer("num_hidden_layers", 1),
    heads,
    kvHeads,
    headSize,
    rmsNormEps: text.number("rms_norm_eps", { above: 0 }, 1e-6),
    ...parseRope(text, headSize),
    maxPositionEmbeddings: text.integer("max_position_embeddings", 1, DEFAULT_MAX_POSITIONS),
    eosTokenIds: parseEos(text, vocabSize) ?? parseEos(top, vocabSize) ?? [],
  };
}

function parseEos(fields: JsonFields, vocabSize: number): number[] | undefined {
  if (!fields.has("eos_token_id")) return undefined;
  return fields.oneOrMore("eos_token_id", { integer: true, min: 0, max: vocabSize - 1 });
}

/** 5.x writes one `rope_parameters`, 4.57 writes `rope_theta` and `rope_scaling`. */
function parseRope(
  text: JsonFields,
  headSize: number,
): Pick<TextConfig, "ropeTheta" | "mropeSection"> {
  const parameters = text.objectOrUndefined("rope_parameters");
  const scaling = parameters ?? text.objectOrUndefined("rope_scaling");
  const kind =
    scaling?.stringOrUndefined("rope_type") ?? scaling?.stringOrUndefined("type") ?? "default";
  if (kind !== "default" && kind !== "mrope") {
    throw unsupported(`${text.where} asks for rope type ${kind}; only the default can be used.`);
  }
  const thetaFields = parameters?.has("rope_theta") ? parameters : text;
  const ropeTheta = thetaFields.number("rope_theta", { above: 0 }, DEFAULT_ROPE_THETA);
  const section = scaling?.has("mrope_section")
    ? scaling.numbers("mrope_section", { integer: true, min: 0 })
    : DEFAULT_MROPE_SECTION;
  const [t, h, w] = section;
  if (section.length !== 3 || t === undefined || h === undefined || w === undefined) {
    throw (scaling ?? text).wrong("mrope_section", "three integers");
  }
  if (t + h + w !== headSize / 2) {
    throw (scaling ?? text).wrong(
      "mrope_section",
      `three integers that add up to half of head_dim (${headSize / 2})`,
    );
  }
  return { ropeTheta, mropeSection: [t, h, w] };
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
