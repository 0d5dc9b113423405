// Names and shapes of the tensors a Qwen3-VL checkpoint must hold. In: config and what the files hold, under any
// of the prefixes seen in the wild. Out: one canonical name each, or an error that names what is wrong.

import { ModelLoadError } from "../errors.ts";
import type { Qwen3VlConfig } from "./config.ts";
import type { Assume } from "./stored-facts.ts";

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** What names are given to: a stored tensor, or a weight put together from several. */
export interface NamedTensor extends TensorSpec {
  readonly dtype: string;
}

export const EMBED_TOKENS = "model.language_model.embed_tokens.weight";
export const LM_HEAD = "lm_head.weight";

const VISION = "model.visual.";
const TEXT = "model.language_model.";
const READABLE_DTYPES = ["BF16", "F16", "F32"];
const NAMES_IN_A_MESSAGE = 8;

/** Path segments that training frameworks wrap around a module, wherever they stand. */
const WRAPPER =
  /(?<=^|\.)(?:_orig_mod|module|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;
/** Segments in front of the part that tells what a tensor belongs to. */
const OUTER = /^(?:base_model|pretrained_model|model|language_model|text_model)\./;
const VISION_ROOT = /^(?:visual|vision_tower)\./;
const TEXT_ROOT = /^(?:layers\.\d+\.|embed_tokens\.|norm\.)/;

/** Computed from config.json; old code saved them by accident. */
const BUFFER =
  /(?:^|\.)(?:inv_freq|original_inv_freq|cos_cached|sin_cached|position_ids|masked_bias|causal_mask|num_batches_tracked)$/;
/** Trainings that were never merged into the weights, in the words of PEFT and its relatives. */
const ADAPTER =
  /(?:^|[._])(?:lora_\w+|lora|base_layer|modules_to_save|original_module|hada_w\w+|lokr_\w+|oft_\w+|ia3_\w+|vera_\w+|adapter\w*|prompt_encoder|prompt_embeddings)(?:\.|$)/i;
/** Top-level parts for other tasks than writing text: rewards, classes, embeddings, drafts. */
const OTHER_HEAD =
  /^(?!lm_head\.)(?:score|classifier|qa_outputs|pooler|mtp|summary|custom_text_proj|(?:\w+_)?(?:head|projection|proj)\d*)\./;

/** The name the specification uses, or the name without wrappers when no rule fits. */
export function canonicalName(stored: string): string {
  let name = stored.replace(WRAPPER, "");
  while (OUTER.test(name)) name = name.replace(OUTER, "");
  if (name.startsWith("lm_head.")) return name;
  if (VISION_ROOT.test(name)) return name.replace(VISION_ROOT, VISION);
  if (TEXT_ROOT.test(name)) return TEXT + name;
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
 * @param assume told what was left out, or taken for something else
 * @throws ModelLoadError naming tensors that are missing, unexpected, doubled, of a wrong shape or of a
 *   number format that cannot be read
 */
export function resolveTensors<T extends NamedTensor>(
  config: Qwen3VlConfig,
  stored: Iterable<T>,
  assume: Assume = () => {},
): Map<string, T> {
  const found = byCanonicalName(stored);
  if (config.tiedEmbeddings) takeHeadForEmbedding(found, assume);
  const expected = expectedTensors(config);
  const missing = expected.filter(({ name }) => !found.has(name)).map(({ name }) => name);
  if (missing.length > 0) {
    throw new ModelLoadError(
      "model-corrupt",
      `The checkpoint lacks ${missing.length} of the ${expected.length} tensors that config.json asks for: ${list(missing)}. ` +
        "Parts that a training left alone can be copied from the base model; otherwise save it again, whole.",
      { missing },
    );
  }
  leaveOut(found, new Set(expected.map(({ name }) => name)), assume);
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
  return new Map(expected.map(({ name }) => [name, found.get(name) as T]));
}

/** Of two tensors that share their memory some tools keep the one, some the other. */
function takeHeadForEmbedding<T extends NamedTensor>(found: Map<string, T>, assume: Assume): void {
  const head = found.get(LM_HEAD);
  if (head === undefined || found.has(EMBED_TOKENS)) return;
  found.set(EMBED_TOKENS, head);
  assume(
    `${head.name} is the embedding table too: the embeddings are tied, and only it is stored.`,
  );
}

/** What is stored beside the model: heads of other tasks are left out and named, anything else is refused. */
function leaveOut(
  found: ReadonlyMap<string, NamedTensor>,
  known: ReadonlySet<string>,
  assume: Assume,
): void {
  // The head of a tied checkpoint; whether it says the same as the embedding is looked at where weights are read.
  const extra = [...found].filter(([name]) => !known.has(name) && name !== LM_HEAD);
  const heads = extra.filter(([name]) => OTHER_HEAD.test(name)).map(([, { name }]) => name);
  const unexpected = extra.filter(([name]) => !OTHER_HEAD.test(name)).map(([, { name }]) => name);
  if (unexpected.length > 0) {
    throw corrupt(
      `The checkpoint holds ${unexpected.length} tensors that config.json does not explain: ${list(unexpected)}. ` +
        "Use the config.json that was saved with these weights.",
    );
  }
  if (heads.length > 0) {
    assume(
      `Tensors of another task are left out, as a chat model has no use for them: ${list(heads)}.`,
    );
  }
}

function byCanonicalName<T extends NamedTensor>(stored: Iterable<T>): Map<string, T> {
  const found = new Map<string, T>();
  for (const tensor of stored) {
    if (BUFFER.test(tensor.name)) continue;
    refuseAdapter(tensor);
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

function refuseAdapter({ name }: NamedTensor): void {
  if (!ADAPTER.test(name)) return;
  throw new ModelLoadError(
    "model-unsupported",
    `The checkpoint holds a LoRA or another adapter that was never merged into the weights (${name}); without it the ` +
      "answers would be those of the base model. Merge it (merge_and_unload in PEFT, `swift export --merge_lora true`, " +
      "`llamafactory-cli export`) and use the merged checkpoint, or save the adapter alone and name it with `--lora`.",
  );
}

function refuseUnreadable(tensor: NamedTensor): void {
  if (tensor.dtype.startsWith("F8_") || tensor.name.endsWith("weight_scale_inv")) {
    throw new ModelLoadError(
      "model-unsupported",
      `This is an FP8 checkpoint (${tensor.name}) without the settings that tell how it was made ` +
        "(quantization_config of config.json); use its own config.json, or the bf16 checkpoint.",
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
