// The text half of a Qwen3-VL checkpoint as GGUF, for engines of the llama.cpp family: the same weights, as Q8_0 or
// Q4_0, of the architecture `qwen3vl`, which takes DeepStack features and has M-RoPE. In: an open checkpoint. Out: a file.

import { FORMATS } from "./blocks.js";
import { writeGguf } from "./file.js";

const PREFIX = "model.language_model.";
const LAYER_NAMES = [
  ["attn_norm", "input_layernorm"],
  ["attn_q", "self_attn.q_proj"],
  ["attn_k", "self_attn.k_proj"],
  ["attn_v", "self_attn.v_proj"],
  ["attn_q_norm", "self_attn.q_norm"],
  ["attn_k_norm", "self_attn.k_norm"],
  ["attn_output", "self_attn.o_proj"],
  ["ffn_norm", "post_attention_layernorm"],
  ["ffn_gate", "mlp.gate_proj"],
  ["ffn_up", "mlp.up_proj"],
  ["ffn_down", "mlp.down_proj"],
];

/**
 * What llama.cpp's own quantiser makes of the matrix that scores the vocabulary in a Q4_0 file, which is the embedding
 * table where a model has one for both.
 */
export const HEAD_FORMATS = { Q4_0: "Q6_K", Q8_0: "Q8_0" };

/**
 * @param {Awaited<ReturnType<typeof import("./file.js").openCheckpoint>>} checkpoint
 * @param {string} path
 * @param {"Q4_0" | "Q8_0"} format of the matrices
 */
export async function writeTextGguf(checkpoint, path, format) {
  const { config, tokenizer, stored } = checkpoint;
  const pairs = metadata(config, tokenizer, FORMATS[format].fileType);
  const hasHead = stored.has("lm_head.weight");
  const head = hasHead ? "output.weight" : "token_embd.weight";
  const tensors = tensorNames(config.text_config, hasHead).map(([name, from]) => {
    const { shape } = stored.get(from) ?? { shape: [] };
    if (shape.length !== 2) return { name, from, format: "F32" };
    if (name !== head) return { name, from, format };
    const headFormat = HEAD_FORMATS[format];
    const fits = shape[1] % FORMATS[headFormat].block === 0;
    return { name, from, format: fits ? headFormat : "Q8_0" };
  });
  await writeGguf(path, checkpoint, pairs, tensors);
}

function tensorNames(text, hasHead) {
  const names = [
    ["token_embd.weight", `${PREFIX}embed_tokens.weight`],
    ["output_norm.weight", `${PREFIX}norm.weight`],
  ];
  if (hasHead) names.push(["output.weight", "lm_head.weight"]);
  for (let layer = 0; layer < text.num_hidden_layers; layer++) {
    for (const [name, from] of LAYER_NAMES) {
      names.push([`blk.${layer}.${name}.weight`, `${PREFIX}layers.${layer}.${from}.weight`]);
    }
  }
  return names;
}

function metadata({ text_config: text, vision_config: vision }, tokenizer, fileType) {
  const added = new Map(tokenizer.added_tokens.map(({ id, content }) => [id, content]));
  const spellings = [];
  for (const [spelling, id] of Object.entries(tokenizer.model.vocab)) spellings[id] = spelling;
  const ids = Array.from({ length: text.vocab_size }, (_, id) => id);
  const [normal, control, unused] = [1, 3, 5];
  const kind = (id) => (added.has(id) ? control : spellings[id] === undefined ? unused : normal);
  return [
    ["general.architecture", "string", "qwen3vl"],
    ["general.name", "string", "random"],
    ["general.file_type", "u32", fileType],
    ["general.quantization_version", "u32", 2],
    ["qwen3vl.block_count", "u32", text.num_hidden_layers],
    ["qwen3vl.context_length", "u32", 32_768],
    ["qwen3vl.embedding_length", "u32", text.hidden_size],
    ["qwen3vl.feed_forward_length", "u32", text.intermediate_size],
    ["qwen3vl.attention.head_count", "u32", text.num_attention_heads],
    ["qwen3vl.attention.head_count_kv", "u32", text.num_key_value_heads],
    ["qwen3vl.attention.key_length", "u32", text.head_dim],
    ["qwen3vl.attention.value_length", "u32", text.head_dim],
    ["qwen3vl.attention.layer_norm_rms_epsilon", "f32", text.rms_norm_eps],
    ["qwen3vl.rope.freq_base", "f32", text.rope_theta],
    // Time, height, width, and one more kind of position that there is not.
    ["qwen3vl.rope.dimension_sections", "i32s", [...text.rope_scaling.mrope_section, 0]],
    ["qwen3vl.n_deepstack_layers", "u32", vision.deepstack_visual_indexes.length],
    ["tokenizer.ggml.model", "string", "gpt2"],
    ["tokenizer.ggml.pre", "string", "qwen2"],
    [
      "tokenizer.ggml.tokens",
      "strings",
      ids.map((id) => added.get(id) ?? spellings[id] ?? `[PAD${id}]`),
    ],
    ["tokenizer.ggml.token_type", "i32s", ids.map(kind)],
    [
      "tokenizer.ggml.merges",
      "strings",
      tokenizer.model.merges.map((merge) => [merge].flat().join(" ")),
    ],
    ["tokenizer.ggml.eos_token_id", "u32", text.eos_token_id],
    ["tokenizer.ggml.padding_token_id", "u32", text.bos_token_id],
    ["tokenizer.ggml.add_bos_token", "bool", false],
  ];
}
