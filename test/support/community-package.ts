// Packages in the layout of onnx-community, for transformers.js: graphs with its inputs and outputs, written with the graphs
// of our own converter in the middle. They know nothing of DeepStack, compute the logits that `num_logits_to_keep` names,
// and are given masks, positions and sizes of pictures instead of tables. Out: directories.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Qwen3VlConfig } from "../../src/vlm/checkpoint/config.ts";
import { type Checkpoint, openCheckpoint } from "../../src/vlm/checkpoint/open-checkpoint.ts";
import { EMBED_TOKENS } from "../../src/vlm/checkpoint/tensor-names.ts";
import { decoderGraph } from "../../src/vlm/convert/decoder-graph.ts";
import { HashedFile } from "../../src/vlm/convert/hashed-file.ts";
import type { Precision } from "../../src/vlm/convert/linear-layers.ts";
import {
  type ElementType,
  elementTypeCode,
  type GraphNode,
  OnnxModel,
} from "../../src/vlm/convert/onnx-model.ts";
import { RowReader } from "../../src/vlm/convert/row-reader.ts";
import { type PlannedGraph, visionGraph } from "../../src/vlm/convert/vision-graph.ts";
import { WeightWriter } from "../../src/vlm/convert/weight-writer.ts";
import { mropeAxis } from "../../src/vlm/engine/rotary.ts";

/** Precisions of the decoder graphs that a package holds, and the ends of their names. */
const SUFFIXES = { fp32: "", w8a8: "_quantized", q4: "_q4" } as const;
export type CommunityForm = keyof typeof SUFFIXES;

export interface CommunityOptions {
  /** @default ["fp32"] */
  readonly decoders?: readonly CommunityForm[];
  /** `dtype` of `transformers.js_config`. */
  readonly dtype?: unknown;
}

/** @returns the directory */
export async function communityPackage(
  checkpointDir: string,
  parent: string,
  { decoders = ["fp32"], dtype }: CommunityOptions = {},
): Promise<string> {
  const dir = join(parent, "community");
  await mkdir(join(dir, "onnx"), { recursive: true });
  const checkpoint = await openCheckpoint(checkpointDir);
  try {
    const { config } = checkpoint;
    for (const form of decoders) {
      const name = `decoder_model_merged${SUFFIXES[form]}`;
      await writeGraph(growingDecoder(config, form), checkpoint, dir, name);
    }
    await writeGraph(visionEncoder(config), checkpoint, dir, "vision_encoder");
    await writeGraph(embedTokens(config), checkpoint, dir, "embed_tokens");
    for (const file of checkpoint.settingsFiles) {
      await copyFile(join(checkpointDir, file), join(dir, file));
    }
    if (dtype !== undefined) {
      const text = await readFile(join(checkpointDir, "config.json"), "utf8");
      const json = { ...JSON.parse(text), "transformers.js_config": { dtype } };
      await writeFile(join(dir, "config.json"), JSON.stringify(json));
    }
  } finally {
    await checkpoint.close();
  }
  return dir;
}

async function writeGraph(
  { model, plan }: PlannedGraph,
  checkpoint: Checkpoint,
  dir: string,
  name: string,
): Promise<void> {
  const file = join(dir, "onnx", `${name}.onnx`);
  const data = await HashedFile.create(`${file}_data`);
  await new WeightWriter(new RowReader(checkpoint), data).write(plan);
  await data.finish();
  await data.close();
  await writeFile(file, model.serialize(`${name}.onnx_data`, "test"));
}

function embedTokens({ text }: Qwen3VlConfig): PlannedGraph {
  const model = new OnnxModel("embed_tokens");
  const target = model.external("table", "f32", [text.vocabSize, text.hiddenSize]);
  const ids = model.input("input_ids", "i64", ["batch", "sequence"]);
  model.node("Gather", "inputs_embeds", ["table", ids], { axis: { int: 0 } });
  model.output("inputs_embeds", "f32", ["batch", "sequence", text.hiddenSize]);
  return { model, plan: [{ kind: "values", source: EMBED_TOKENS, target }] };
}

/** Our decoder behind other inputs, with keys and values that grow. */
function growingDecoder(config: Qwen3VlConfig, precision: Precision): PlannedGraph {
  const { text, vision } = config;
  const planned = decoderGraph(config, precision, "s8");
  const { model } = planned;
  const own = ["deepstack_embeds", "rotary_cos", "rotary_sin", "seqlens_k"];
  const before = new NodesInFront(model, [...own, "total_sequence_length", "logit_rows"]);
  for (const [index, value] of model.inputs.entries()) {
    if (!value.name.startsWith("past_key_values.")) continue;
    // Names for all sizes, as some exports have it.
    model.inputs[index] = { ...value, shape: ["batch", "heads", "past", "head_size"] };
  }
  for (const [index, value] of model.outputs.entries()) {
    const shape = value.shape.map((size) => (size === "capacity" ? "total" : size));
    model.outputs[index] = { ...value, shape };
  }
  const half = text.headSize / 2;
  const taps = vision.deepstackLayers.length;
  const zeros = new Array<number>(taps * text.hiddenSize).fill(0);
  model.constant("deepstack_embeds", "f32", [taps, 1, 1, text.hiddenSize], zeros);

  const positions = before.f32(model.input("position_ids", "i64", [3, "batch", "sequence"]));
  const axes = Array.from({ length: half }, (_, j) => mropeAxis(j, text.mropeSection));
  const driven = before.node("Gather", [positions, before.ints("axes", axes)], {
    axis: { int: 0 },
  });
  const turned = before.node("Transpose", [driven], { perm: { ints: [1, 2, 0] } }); // (B, S, half)
  before.waves(turned, frequencies(half, text.ropeTheta), "rotary_cos", "rotary_sin");

  const mask = model.input("attention_mask", "i64", ["batch", "total"]);
  const valid = before.node("ReduceSum", [mask, before.ints("mask_axis", [1])], {
    keepdims: { int: 0 },
  });
  const last = before.node("Sub", [valid, before.ints("one", [1])]);
  before.cast(last, "i32", "seqlens_k");
  before.cast(before.size(mask, 1), "i32", "total_sequence_length");

  const kept = model.input("num_logits_to_keep", "i64", []);
  const tokens = before.size("inputs_embeds", 1);
  const first = before.node("Sub", [tokens, kept]);
  before.node("Range", [first, tokens, before.int("step", 1)], {}, "logit_rows");
  before.insert();
  const head = model.nodes.findLastIndex(({ outputs }) => outputs[0] === "logits");
  model.nodes[head] = { ...model.nodes[head]!, name: "flat_logits", outputs: ["flat_logits"] };
  model.node("Unsqueeze", "logits", ["flat_logits", before.ints("batch_axis", [0])]);
  model.outputs[0] = { name: "logits", type: "f32", shape: ["batch", "kept", text.vocabSize] };
  return planned;
}

/** Our vision encoder behind other inputs: what patches know of their places is computed in the graph. One picture. */
function visionEncoder(config: Qwen3VlConfig): PlannedGraph {
  const { mergeSize, headSize, ropeTheta, positionGridSize, outHiddenSize } = config.vision;
  const planned = visionGraph(config, "fp32");
  const { model } = planned;
  const own = ["pos_embed_indices", "pos_embed_weights", "rotary_cos", "rotary_sin"];
  const before = new NodesInFront(model, own);
  const grid = model.input("image_grid_thw", "i64", ["images", 3]);
  const sizes = [1, 2].map((axis) => {
    const at = before.ints(`grid_${axis}`, [0, axis]);
    return before.node("GatherND", [grid, at]); // ()
  }) as [string, string];
  // Where each patch is, in the order of merge blocks.
  const places = [0, 1].map((axis) => {
    const line = before.node("Range", [before.int("zero", 0), sizes[axis]!, before.int("step", 1)]);
    const along = before.node("Unsqueeze", [line, before.ints(`across_${axis}`, [1 - axis])]);
    const each = before.ints("each", [0]);
    const shape = before.node(
      "Concat",
      sizes.map((size) => before.node("Unsqueeze", [size, each])),
      { axis: { int: 0 } },
    );
    const all = before.node("Expand", [along, shape]); // (height, width)
    const merge = before.int("merge", mergeSize);
    const parts = [sizes[0], merge, sizes[1], merge].map((size, index) =>
      before.node("Unsqueeze", [index % 2 === 1 ? size : before.node("Div", [size, merge]), each]),
    );
    const blocks = before.node("Concat", parts, { axis: { int: 0 } });
    const split = before.node("Reshape", [all, blocks]);
    const merged = before.node("Transpose", [split], { perm: { ints: [0, 2, 1, 3] } });
    return before.node("Reshape", [merged, before.ints("flat", [-1])]); // (N)
  }) as [string, string];

  const corners = places.map((place, axis) => {
    const most = before.node("Max", [
      before.node("Sub", [before.f32(sizes[axis]!), before.float("one_f", 1)]),
      before.float("one_f", 1),
    ]);
    const scaled = before.node("Mul", [
      before.f32(place),
      before.float("table_end", positionGridSize - 1),
    ]);
    const at = before.node("Div", [scaled, most]);
    const low = before.cast(before.node("Floor", [at]), "i64");
    const end = before.int("table_last", positionGridSize - 1);
    const high = before.node("Min", [before.node("Add", [low, before.int("step", 1)]), end]);
    const highWeight = before.node("Sub", [at, before.f32(low)]);
    const lowWeight = before.node("Sub", [before.float("one_f", 1), highWeight]);
    return [
      { line: low, weight: lowWeight },
      { line: high, weight: highWeight },
    ];
  });
  const pairs = corners[0]!.flatMap((y) => corners[1]!.map((x) => [y, x] as const));
  const first = before.ints("each", [0]);
  const rows = pairs.map(([y, x]) => {
    const row = before.node("Mul", [y.line, before.int("table_row", positionGridSize)]);
    return before.node("Unsqueeze", [before.node("Add", [row, x.line]), first]);
  });
  before.node("Concat", rows, { axis: { int: 0 } }, "pos_embed_indices");
  const weights = pairs.map(([y, x]) =>
    before.node("Unsqueeze", [before.node("Mul", [y.weight, x.weight]), first]),
  );
  before.node("Concat", weights, { axis: { int: 0 } }, "pos_embed_weights");

  const columns = places.map((place) =>
    before.node("Unsqueeze", [before.f32(place), before.ints("last", [-1])]),
  );
  const inverse = frequencies(headSize / 4, ropeTheta);
  const table = before.floats("inverse", inverse);
  const angles = columns.map((column) => before.node("Mul", [column, table]));
  const both = before.node("Concat", angles, { axis: { int: 1 } });
  const one = before.node("Unsqueeze", [both, first]); // (1, N, headSize / 2)
  before.node("Cos", [one], {}, "rotary_cos");
  before.node("Sin", [one], {}, "rotary_sin");
  before.insert();
  model.outputs.splice(0, 2, {
    name: "image_features",
    type: "f32",
    shape: ["image_tokens", outHiddenSize],
  });
  return planned;
}

function frequencies(count: number, theta: number): number[] {
  return Array.from({ length: count }, (_, j) => 1 / Math.fround(theta ** Math.fround(j / count)));
}

/** Nodes that compute what were inputs of a graph. */
class NodesInFront {
  readonly #model: OnnxModel;
  readonly #nodes: GraphNode[] = [];

  constructor(model: OnnxModel, replaced: readonly string[]) {
    this.#model = model;
    const kept = model.inputs.filter(({ name }) => !replaced.includes(name));
    model.inputs.splice(0, model.inputs.length, ...kept);
  }

  node(
    op: string,
    inputs: readonly string[],
    attributes: GraphNode["attributes"] = {},
    name = `front.${this.#nodes.length}`,
  ): string {
    this.#nodes.push({ name, domain: "", op, inputs, outputs: [name], attributes });
    return name;
  }

  cast(x: string, type: ElementType, name?: string): string {
    return this.node("Cast", [x], { to: { int: elementTypeCode(type) } }, name);
  }

  f32(x: string): string {
    return this.cast(x, "f32");
  }

  /** A scalar. */
  size(x: string, axis: number): string {
    const shape = this.node("Shape", [x], {});
    return this.node("Gather", [shape, this.int(`axis_${axis}`, axis)], { axis: { int: 0 } });
  }

  waves(positions: string, inverse: readonly number[], cos: string, sin: string): void {
    const angles = this.node("Mul", [positions, this.floats("inverse", inverse)]);
    this.node("Cos", [angles], {}, cos);
    this.node("Sin", [angles], {}, sin);
  }

  int(name: string, value: number): string {
    return this.#model.constant(`front_${name}`, "i64", [], [value]);
  }

  ints(name: string, values: readonly number[]): string {
    return this.#model.constant(`front_${name}`, "i64", [values.length], values);
  }

  float(name: string, value: number): string {
    return this.#model.constant(`front_${name}`, "f32", [], [value]);
  }

  floats(name: string, values: readonly number[]): string {
    return this.#model.constant(`front_${name}`, "f32", [values.length], values);
  }

  /** Graphs list their nodes in the order of computation. */
  insert(): void {
    this.#model.nodes.unshift(...this.#nodes);
  }
}
