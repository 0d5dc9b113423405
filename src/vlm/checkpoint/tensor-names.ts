// Names and shapes of the tensors a Qwen3-VL checkpoint must hold. In: config and what the files hold, under any
// of the prefixes seen in the wild. Out: one canonical name each, or an error that names what is wrong.

import { ModelLoadError } from "../errors.ts";
import type { Qwen3VlConfig } from "./config.ts";
import type { StoredTensor } from "./safetensors.ts";

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

export const EMBED_TOKENS = "model.language_model.embed_tokens.weight";
export const LM_HEAD = "lm_head.weight";

const VISION = "model.visual.";
const TEXT = "model.language_model.";
const READABLE_DTYPES = ["BF16", "F16", "F32"];
const NAMES_IN_A_MESSAGE = 8;

/** Prefixes in the wild, longest first, and what they stand for. */
const PREFIXES: readonly (readonly [seen: RegExp, canonical: string])[] = [
  [/^model\.visual\./, VISION],
  [/^visual\./, VISION],
  [/^model\.language_model\./, TEXT],
  [/^language_model\.model\./, TEXT],
  [/^model\.(?=layers\.|embed_tokens\.|norm\.)/, TEXT],
  [/^(?:language_model\.|model\.)?lm_head\./, "lm_head."],
];

/** The name the specification uses, or the name itself when no rule fits. */
export function canonicalName(stored: string): string {
  const name = stored.replace(/^base_model\.model\./, "");
  for (const [seen, canonical] of PREFIXES) {
    if (seen.test(name)) return name.replace(seen, canonical);
  }
  return name;
}

/** Every tensor that a model of this configuration has, with its shape. */
export function expectedTensors(config: Qwen3VlConfig): TensorSpec[] {
  const specs = [...visionTensors(config), ...textTensors(config)];
  if (!config.tiedEmbeddings) {
    specs.push({ name: LM_HEAD, shape: [config.text.vocabSize, config.text.hiddenSize] });
  }
  return specs;
}

function visionTensors({ vision }: Qwen3VlConfig): TensorSpec[] {
  const { hiddenSize: d, intermediateSize: i, outHiddenSize: o } = vision;
  const merged = d * vision.mergeSize ** 2;
  const patch = [vision.inChannels, vision.temporalPatchSize, vision.patchSize, vision.patchSize];
  const specs: TensorSpec[] = [];
  const add = (name: string, shape: number[]) => specs.push({ name: VISION + name, shape });
  const linear = (name: string, rows: number, columns: number) => {
    add(`${name}.weight`, [rows, columns]);
    add(`${name}.bias`, [rows]);
  };
  const norm = (name: string, size: number) => {
    add(`${name}.weight`, [size]);
    add(`${name}.bias`, [size]);
  };
  const merger = (name: string, normSize: number) => {
    norm(`${name}.norm`, normSize);
    linear(`${name}.linear_fc1`, merged, merged);
    linear(`${name}.linear_fc2`, o, merged);
  };
  add("patch_embed.proj.weight", [d, ...patch]);
  add("patch_embed.proj.bias", [d]);
  add("pos_embed.weight", [vision.positionGridSize ** 2, d]);
  for (let block = 0; block < vision.depth; block++) {
    norm(`blocks.${block}.norm1`, d);
    linear(`blocks.${block}.attn.qkv`, 3 * d, d);
    linear(`blocks.${block}.attn.proj`, d, d);
    norm(`blocks.${block}.norm2`, d);
    linear(`blocks.${block}.mlp.linear_fc1`, i, d);
    linear(`blocks.${block}.mlp.linear_fc2`, d, i);
  }
  merger("merger", d);
  vision.deepstackLayers.forEach((_, k) => {
    merger(`deepstack_merger_list.${k}`, merged);
  });
  return specs;
}

function textTensors({ text }: Qwen3VlConfig): TensorSpec[] {
  const { hiddenSize: h, intermediateSize: f, headSize } = text;
  const query = text.heads * headSize;
  const keyValue = text.kvHeads * headSize;
  const specs: TensorSpec[] = [{ name: EMBED_TOKENS, shape: [text.vocabSize, h] }];
  for (let layer = 0; layer < text.layers; layer++) {
    const add = (name: string, shape: number[]) =>
      specs.push({ name: `${TEXT}layers.${layer}.${name}.weight`, shape });
    add("input_layernorm", [h]);
    add("self_attn.q_proj", [query, h]);
    add("self_attn.k_proj", [keyValue, h]);
    add("self_attn.v_proj", [keyValue, h]);
    add("self_attn.o_proj", [h, query]);
    add("self_attn.q_norm", [headSize]);
    add("self_attn.k_norm", [headSize]);
    add("post_attention_layernorm", [h]);
    add("mlp.gate_proj", [f, h]);
    add("mlp.up_proj", [f, h]);
    add("mlp.down_proj", [h, f]);
  }
  specs.push({ name: `${TEXT}norm.weight`, shape: [h] });
  return specs;
}

/**
 * Gives every needed tensor its canonical name.
 *
 * @throws ModelLoadError naming tensors that are missing, unexpected, doubled, of a wrong shape or of a
 *   number format that cannot be read
 */
export function resolveTensors(
  config: Qwen3VlConfig,
  stored: Iterable<StoredTensor>,
): Map<string, StoredTensor> {
  const found = byCanonicalName(stored);
  const expected = expectedTensors(config);
  const missing = expected.filter(({ name }) => !found.has(name)).map(({ name }) => name);
  if (missing.length > 0) {
    throw new ModelLoadError(
      "model-corrupt",
      `The checkpoint lacks ${missing.length} of the ${expected.length} tensors that config.json asks for: ${list(missing)}.`,
      { missing },
    );
  }
  const known = new Set(expected.map(({ name }) => name));
  // Some tied checkpoints store the head as well; transformers ignores it, and so do we.
  known.add(LM_HEAD);
  const unexpected = [...found].filter(([name]) => !known.has(name)).map(([, { name }]) => name);
  if (unexpected.length > 0) {
    throw corrupt(
      `The checkpoint holds ${unexpected.length} tensors that config.json does not explain: ${list(unexpected)}.`,
    );
  }
  const wrongShapes = expected.flatMap(({ name, shape }) => {
    const actual = found.get(name)?.shape ?? [];
    const equal = actual.length === shape.length && actual.every((size, i) => size === shape[i]);
    return equal ? [] : [`${name} is [${actual.join(", ")}] and should be [${shape.join(", ")}]`];
  });
  if (wrongShapes.length > 0) {
    throw corrupt(
      `The shapes of ${wrongShapes.length} tensors disagree with config.json: ${list(wrongShapes)}.`,
    );
  }
  return new Map(expected.map(({ name }) => [name, found.get(name) as StoredTensor]));
}

function byCanonicalName(stored: Iterable<StoredTensor>): Map<string, StoredTensor> {
  const found = new Map<string, StoredTensor>();
  for (const tensor of stored) {
    // A buffer that old code saved by accident; computed from config.json instead.
    if (tensor.name.endsWith("rotary_emb.inv_freq")) continue;
    refuseUnreadable(tensor);
    const name = canonicalName(tensor.name);
    const other = found.get(name);
    if (other !== undefined) {
      throw corrupt(`The checkpoint holds ${name} twice: as ${other.name} and as ${tensor.name}.`);
    }
    found.set(name, tensor);
  }
  return found;
}

function refuseUnreadable(tensor: StoredTensor): void {
  if (tensor.dtype.startsWith("F8_") || tensor.name.endsWith("weight_scale_inv")) {
    throw new ModelLoadError(
      "model-unsupported",
      `This is an FP8 checkpoint (${tensor.name}); use the bf16 checkpoint, the converter quantises it.`,
    );
  }
  if (!READABLE_DTYPES.includes(tensor.dtype)) {
    throw new ModelLoadError(
      "model-unsupported",
      `The tensor ${tensor.name} is stored as ${tensor.dtype}; only ${READABLE_DTYPES.join(", ")} can be read.`,
    );
  }
}

function list(names: readonly string[]): string {
  const more = names.length - NAMES_IN_A_MESSAGE;
  const shown = names.slice(0, NAMES_IN_A_MESSAGE).join(", ");
  return more > 0 ? `${shown} and ${more} more` : shown;
}

function corrupt(message: string): ModelLoadError {
  return new ModelLoadError("model-corrupt", message);
}
