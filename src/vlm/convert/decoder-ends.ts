// What comes before the layers of a decoder in 16 bits, and what behind them. In: the graph that is being written. Out: the
// stream that the layers begin with, and outputs made of their logits. It knows nothing of layers.
//
// A card looks token embeddings up in the graph and chooses the best candidates there, so that a step takes a few bytes
// over the bus. P = rows of the rotary tables, k = candidates:
//
// in   input_ids                    int64 [B, S]
// in   image_mask                   bool  [MB, MS, 1]     true where a token is a picture's; broadcast
// in   image_embeds                 f16   [IB, IS, H]     features on rows of pictures; broadcast
// in   deepstack_embeds             f16   [K, DB, DS, H]  added after layers 0 .. K-1; zeros on rows of text; broadcast
// in   position_ids                 int64 [B, S]          row of the rotary tables
// in   rotary_cos, rotary_sin       f16   [P, hd / 2]     P at least total_sequence_length
// out  top_scores, top_ids          f32, int64 [R, k]     largest first
//
// Elsewhere they are as in decoder-graph.ts, whose users need not know in how many bits the layers compute:
//
// in   inputs_embeds                f32   [B, S, H]
// in   deepstack_embeds             f32   [K, DB, DS, H]
// in   rotary_cos, rotary_sin       f32   [B, S, hd / 2]

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import { CANDIDATES, searchCandidates } from "./candidate-search.ts";
import type { FloatType, LinearLayers } from "./linear-layers.ts";
import { elementTypeCode, type OnnxModel } from "./onnx-model.ts";

export interface DecoderEnds {
  /** Names of what `RotaryEmbedding` takes behind what it rotates. */
  readonly rotary: readonly string[];
  /** -> (B, S, H) f16 */
  embed(): string;
  /** -> one (DB, DS, H) f16 for each of the first layers */
  deepstack(): readonly string[];
  /** Declares the rotary inputs. */
  tables(): void;
  /** Declares the outputs before those of keys and values. @param logits (R, vocabulary) f32 */
  finish(logits: string): void;
}

/** Ids in, candidates out. */
export function cardEnds(
  layers: LinearLayers,
  model: OnnxModel,
  config: Qwen3VlConfig,
): DecoderEnds {
  const { hiddenSize, vocabSize, headSize } = config.text;
  return {
    rotary: ["rotary_cos", "rotary_sin", "position_ids"],
    embed() {
      const ids = model.input("input_ids", "i64", ["batch", "sequence"]);
      const mask = model.input("image_mask", "bool", ["mask_batch", "mask_sequence", 1]);
      const shape = ["image_batch", "image_sequence", hiddenSize];
      const images = model.input("image_embeds", "f16", shape);
      const table = layers.values(EMBED_TOKENS, [vocabSize, hiddenSize], "f16");
      const words = model.node("Gather", "words", [table, ids], { axis: { int: 0 } });
      return model.node("Where", "embedded", [mask, images, words]);
    },
    deepstack: () => taps(model, config, "f16"),
    tables() {
      model.input("position_ids", "i64", ["batch", "sequence"]);
      model.input("rotary_cos", "f16", ["rotary_rows", headSize / 2]);
      model.input("rotary_sin", "f16", ["rotary_rows", headSize / 2]);
    },
    finish(logits) {
      const count = Math.min(CANDIDATES, vocabSize);
      model.outputs.unshift(
        { name: "logits", type: "f32", shape: ["rows", vocabSize] },
        { name: "top_scores", type: "f32", shape: ["rows", count] },
        { name: "top_ids", type: "i64", shape: ["rows", count] },
      );
      searchCandidates(model, logits, vocabSize);
    },
  };
}

/** Embeddings in, logits out. */
export function embeddingEnds(model: OnnxModel, config: Qwen3VlConfig): DecoderEnds {
  const { hiddenSize, vocabSize, headSize } = config.text;
  return {
    rotary: ["rotary_cos.f16", "rotary_sin.f16"],
    embed() {
      model.input("inputs_embeds", "f32", ["batch", "sequence", hiddenSize]);
      return inHalf(model, "inputs_embeds");
    },
    deepstack: () => taps(model, config, "f32").map((tap) => inHalf(model, tap)),
    tables() {
      for (const name of ["rotary_cos", "rotary_sin"]) {
        model.input(name, "f32", ["batch", "sequence", headSize / 2]);
        inHalf(model, name);
      }
    },
    finish() {
      model.outputs.unshift({ name: "logits", type: "f32", shape: ["rows", vocabSize] });
    },
  };
}

function taps(model: OnnxModel, { vision, text }: Qwen3VlConfig, type: FloatType): string[] {
  const count = vision.deepstackLayers.length;
  const shape = [count, "deepstack_batch", "deepstack_sequence", text.hiddenSize];
  const all = model.input("deepstack_embeds", type, shape);
  return Array.from({ length: count }, (_, tap) => {
    const select = model.constant(`tap_${tap}`, "i64", [], [tap]);
    return model.node("Gather", `taps.${tap}`, [all, select], { axis: { int: 0 } });
  });
}

function inHalf(model: OnnxModel, name: string): string {
  return model.node("Cast", `${name}.f16`, [name], { to: { int: elementTypeCode("f16") } });
}
