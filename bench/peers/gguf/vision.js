// The vision encoder of a Qwen3-VL checkpoint as GGUF ("mmproj"), for engines of the llama.cpp family that see: the
// same weights, matrices as Q8_0 or F16, DeepStack included. In: an open checkpoint. Out: a file.

import { FORMATS } from "./blocks.js";
import { writeGguf } from "./file.js";

const PREFIX = "model.visual.";
/** Of each block, weight and bias. */
const BLOCK_NAMES = [
  ["ln1", "norm1"],
  ["attn_qkv", "attn.qkv"],
  ["attn_out", "attn.proj"],
  ["ln2", "norm2"],
  ["ffn_up", "mlp.linear_fc1"],
  ["ffn_down", "mlp.linear_fc2"],
];
const MERGER_NAMES = [
  ["v.post_ln", "merger.norm"],
  ["mm.0", "merger.linear_fc1"],
  ["mm.2", "merger.linear_fc2"],
];
const DEEPSTACK_NAMES = [
  ["norm", "norm"],
  ["fc1", "linear_fc1"],
  ["fc2", "linear_fc2"],
];

/**
 * @param {Awaited<ReturnType<typeof import("./file.js").openCheckpoint>>} checkpoint
 * @param {string} path
 * @param {"Q8_0" | "F16"} format of the matrices
 */
export async function writeVisionGguf(checkpoint, path, format) {
  const { config, stored } = checkpoint;
  const pairs = metadata(config, FORMATS[format].fileType);
  const tensors = weightNames(config.vision_config).flatMap(([name, from]) =>
    ["weight", "bias"].map((part) => {
      const source = `${PREFIX}${from}.${part}`;
      const isMatrix = stored.get(source)?.shape.length === 2;
      return { name: `${name}.${part}`, from: source, format: isMatrix ? format : "F32" };
    }),
  );
  await writeGguf(path, checkpoint, pairs, [
    ...embedding(config.vision_config, format),
    ...tensors,
  ]);
}

/** Patches and positions. The two time slices of the patch filter are two filters there. */
function embedding(vision, format) {
  const { hidden_size, in_channels, patch_size, temporal_patch_size } = vision;
  const length = patch_size ** 2;
  const slice = (suffix, index) => ({
    name: `v.patch_embd.weight${suffix}`,
    from: `${PREFIX}patch_embed.proj.weight`,
    // Filters are not quantised.
    format: format === "F16" ? "F16" : "F32",
    shape: [hidden_size, in_channels, patch_size, patch_size],
    runs: { length, stride: temporal_patch_size * length, first: index * length },
  });
  return [
    slice("", 0),
    slice(".1", 1),
    { name: "v.patch_embd.bias", from: `${PREFIX}patch_embed.proj.bias`, format: "F32" },
    { name: "v.position_embd.weight", from: `${PREFIX}pos_embed.weight`, format: "F32" },
  ];
}

function weightNames({ depth, deepstack_visual_indexes: taps }) {
  const blocks = Array.from({ length: depth }, (_, block) =>
    BLOCK_NAMES.map(([name, from]) => [`v.blk.${block}.${name}`, `blocks.${block}.${from}`]),
  );
  // Numbered by the block that they follow.
  const deepstack = taps.map((block, tap) =>
    DEEPSTACK_NAMES.map(([name, from]) => [
      `v.deepstack.${block}.${name}`,
      `deepstack_merger_list.${tap}.${from}`,
    ]),
  );
  return [...blocks.flat(), ...MERGER_NAMES, ...deepstack.flat()];
}

function metadata({ vision_config: vision, text_config: text }, fileType) {
  const taps = vision.deepstack_visual_indexes;
  return [
    ["general.architecture", "string", "clip"],
    ["general.type", "string", "mmproj"],
    ["general.name", "string", "random"],
    ["general.file_type", "u32", fileType],
    ["general.quantization_version", "u32", 2],
    ["clip.has_vision_encoder", "bool", true],
    ["clip.projector_type", "string", "qwen3vl_merger"],
    ["clip.use_gelu", "bool", true],
    [
      "clip.vision.image_size",
      "u32",
      Math.sqrt(vision.num_position_embeddings) * vision.patch_size,
    ],
    ["clip.vision.patch_size", "u32", vision.patch_size],
    ["clip.vision.embedding_length", "u32", vision.hidden_size],
    ["clip.vision.feed_forward_length", "u32", vision.intermediate_size],
    ["clip.vision.projection_dim", "u32", vision.out_hidden_size],
    ["clip.vision.block_count", "u32", vision.depth],
    ["clip.vision.attention.head_count", "u32", vision.num_heads],
    ["clip.vision.attention.layer_norm_epsilon", "f32", text.rms_norm_eps],
    ["clip.vision.spatial_merge_size", "u32", vision.spatial_merge_size],
    [
      "clip.vision.is_deepstack_layers",
      "bools",
      Array.from({ length: vision.depth }, (_, block) => taps.includes(block)),
    ],
    ["clip.vision.image_mean", "f32s", [0.5, 0.5, 0.5]],
    ["clip.vision.image_std", "f32s", [0.5, 0.5, 0.5]],
  ];
}
