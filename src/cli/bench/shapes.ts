// What a checkpoint of each size is made of. Out: its config.json.

import type { ShapeName } from "./shape-names.ts";
import { ADDED_TOKENS, FIRST_ADDED_ID } from "./synthetic-tokenizer.ts";

interface Shape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly tied: boolean;
  readonly vision: {
    readonly depth: number;
    readonly hidden: number;
    readonly intermediate: number;
    readonly heads: number;
    readonly taps: readonly number[];
  };
}

const VISION_2B = { depth: 24, hidden: 1024, intermediate: 4096, heads: 16, taps: [5, 11, 17] };
const VISION_8B = { depth: 27, hidden: 1152, intermediate: 4304, heads: 16, taps: [8, 16, 24] };

const SHAPES: Readonly<Record<ShapeName, Shape>> = {
  // Nothing but the vocabulary of the large ones: 40 million weights.
  nano: {
    hidden: 256,
    intermediate: 512,
    layers: 3,
    heads: 2,
    kvHeads: 1,
    tied: true,
    vision: { depth: 3, hidden: 128, intermediate: 256, heads: 2, taps: [0, 1, 2] },
  },
  // About 0.2 billion weights, and the vocabulary of the large ones.
  mini: {
    hidden: 768,
    intermediate: 2304,
    layers: 9,
    heads: 6,
    kvHeads: 2,
    tied: true,
    vision: { depth: 8, hidden: 384, intermediate: 1536, heads: 6, taps: [1, 3, 5] },
  },
  "2b": {
    hidden: 2048,
    intermediate: 6144,
    layers: 28,
    heads: 16,
    kvHeads: 8,
    tied: true,
    vision: VISION_2B,
  },
  "4b": {
    hidden: 2560,
    intermediate: 9728,
    layers: 36,
    heads: 32,
    kvHeads: 8,
    tied: true,
    vision: VISION_2B,
  },
  "8b": {
    hidden: 4096,
    intermediate: 12288,
    layers: 36,
    heads: 32,
    kvHeads: 8,
    tied: false,
    vision: VISION_8B,
  },
};

/** config.json of a checkpoint of this size. */
export function configOf(name: ShapeName) {
  const { vision, ...text } = SHAPES[name];
  return {
    architectures: ["Qwen3VLForConditionalGeneration"],
    model_type: "qwen3_vl",
    image_token_id: idOf("<|image_pad|>"),
    video_token_id: idOf("<|video_pad|>"),
    vision_start_token_id: idOf("<|vision_start|>"),
    vision_end_token_id: idOf("<|vision_end|>"),
    tie_word_embeddings: text.tied,
    text_config: {
      model_type: "qwen3_vl_text",
      vocab_size: 151_936,
      hidden_size: text.hidden,
      intermediate_size: text.intermediate,
      num_hidden_layers: text.layers,
      num_attention_heads: text.heads,
      num_key_value_heads: text.kvHeads,
      head_dim: 128,
      hidden_act: "silu",
      rms_norm_eps: 1e-6,
      rope_theta: 5_000_000,
      rope_scaling: { mrope_interleaved: true, mrope_section: [24, 20, 20], rope_type: "default" },
      max_position_embeddings: 262_144,
      bos_token_id: idOf("<|endoftext|>"),
      eos_token_id: idOf("<|im_end|>"),
      dtype: "bfloat16",
    },
    vision_config: {
      model_type: "qwen3_vl",
      depth: vision.depth,
      hidden_size: vision.hidden,
      intermediate_size: vision.intermediate,
      num_heads: vision.heads,
      in_channels: 3,
      patch_size: 16,
      temporal_patch_size: 2,
      spatial_merge_size: 2,
      out_hidden_size: text.hidden,
      num_position_embeddings: 2304,
      deepstack_visual_indexes: vision.taps,
      hidden_act: "gelu_pytorch_tanh",
    },
  };
}

function idOf(name: string): number {
  const index = ADDED_TOKENS.indexOf(name);
  if (index < 0) throw new RangeError(`There is no token ${name}.`);
  return FIRST_ADDED_ID + index;
}
