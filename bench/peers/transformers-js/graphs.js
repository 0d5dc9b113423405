// The graphs of a Qwen3-VL as transformers.js wants them: tokens, patches and positions are numbers of whole things,
// and everything that napcat-vlm computes outside is computed in the graph. In: a configuration. Out: planned graphs,
// made from napcat-vlm's own by putting nodes before and behind. Without DeepStack: no export in that layout has it.

import { decoderGraph } from "../../../dist/vlm/convert/decoder-graph.js";
import { LinearLayers } from "../../../dist/vlm/convert/linear-layers.js";
import { OnnxModel } from "../../../dist/vlm/convert/onnx-model.js";
import { visionGraph } from "../../../dist/vlm/convert/vision-graph.js";
import { mropeAxis } from "../../../dist/vlm/engine/rotary.js";

const FIRST = { axis: { int: 0 } };
const LAST = { axis: { int: -1 } };
const FLOAT = { to: { int: 1 } };
const INT32 = { to: { int: 6 } };
const INT64 = { to: { int: 7 } };

/** input_ids int64 [B, S] -> inputs_embeds f32 [B, S, H] from a table in f16 */
export function embedTokens({ text }) {
  const model = new OnnxModel("embed_tokens");
  const layers = new LinearLayers(model, "s8");
  model.input("input_ids", "i64", ["batch_size", "sequence"]);
  const source = "model.language_model.embed_tokens.weight";
  const table = layers.values(source, [text.vocabSize, text.hiddenSize], "f16");
  const rows = model.node("Gather", "rows", [table, "input_ids"], FIRST);
  model.node("Cast", "inputs_embeds", [rows], FLOAT);
  model.output("inputs_embeds", "f32", ["batch_size", "sequence", text.hiddenSize]);
  return { model, plan: layers.plan };
}

/**
 * inputs_embeds, attention_mask int64 [B, T], position_ids int64 [3, B, S], past_key_values.* -> logits [1, 1, V],
 * present.*: one chat, the last token's logits.
 */
export function textDecoder(config, precision, int8Weights) {
  const { model, plan } = decoderGraph(withoutDeepstack(config), precision, int8Weights);
  const { headSize, ropeTheta, mropeSection, vocabSize } = config.text;
  const body = model.nodes.splice(0);
  const computed = ["deepstack_embeds", "rotary_cos", "rotary_sin", "seqlens_k", "logit_rows"];
  keepInputs(model, [...computed, "total_sequence_length"]);
  model.input("attention_mask", "i64", ["batch_size", "total_sequence"]);
  model.input("position_ids", "i64", [3, "batch_size", "sequence"]);

  const half = headSize / 2;
  const axes = Array.from({ length: half }, (_, j) => mropeAxis(j, mropeSection));
  const axisOfEach = model.constant("axis_of_each", "i64", [half], axes);
  const positions = model.node("Cast", "positions", ["position_ids"], FLOAT);
  const turned = model.node("Transpose", "positions_last", [positions], {
    perm: { ints: [1, 2, 0] },
  }); // (B, S, 3)
  const chosen = model.node("Gather", "positions_of_each", [turned, axisOfEach], LAST);
  const frequencies = model.constant("frequencies", "f32", [half], inverse(half, ropeTheta));
  const angles = model.node("Mul", "angles", [chosen, frequencies]); // (B, S, hd / 2)
  model.node("Cos", "rotary_cos", [angles]);
  model.node("Sin", "rotary_sin", [angles]);

  const one = model.constant("one_i64", "i64", [], [1]);
  const lastAxis = model.constant("last_axis", "i64", [1], [-1]);
  const valid = model.node("ReduceSum", "valid", ["attention_mask", lastAxis], {
    keepdims: { int: 0 },
  });
  model.node("Cast", "seqlens_k", [model.node("Sub", "valid_less_one", [valid, one])], INT32);
  const total = sizeOf(model, "attention_mask", 1);
  model.node("Cast", "total_sequence_length", [total], INT32);
  const length = sizeOf(model, "inputs_embeds", 1);
  const lastRow = model.node("Sub", "last_row", [length, one]);
  model.node("Unsqueeze", "logit_rows", [lastRow, model.constant("zero_axis", "i64", [1], [0])]);

  model.nodes.push(...body.map((node) => renamed(node, "logits", "logits_of_last")));
  model.node("Unsqueeze", "logits", ["logits_of_last", "zero_axis"]);
  replaceOutput(model, "logits", [1, 1, vocabSize]);
  return { model, plan };
}

/** pixel_values f32 [N, C], image_grid_thw int64 [1, 3] -> image_features f32 [N / 4, H]: one still picture. */
export function visionEncoder(config, precision) {
  const { model, plan } = visionGraph(withoutDeepstack(config), precision);
  const { headSize, ropeTheta, positionGridSize, mergeSize } = config.vision;
  const body = model.nodes.splice(0);
  keepInputs(model, ["pos_embed_indices", "pos_embed_weights", "rotary_cos", "rotary_sin"]);
  model.input("image_grid_thw", "i64", [1, 3]);
  const [rows, columns] = patchPlaces(model, mergeSize);
  rotaryTables(model, rows, columns, { headSize, ropeTheta });
  positionCorners(model, rows, columns, positionGridSize);
  model.nodes.push(...body.filter(({ name }) => name !== "deepstack_features"));
  model.outputs.splice(0, model.outputs.length, ...model.outputs.slice(0, 1));
  return { model, plan };
}

/** Row and column of every patch in merge-block order, f32 [N] each, and the grid's sides. */
function patchPlaces(model, mergeSize) {
  const zero = model.constant("zero_i64", "i64", [], [0]);
  const step = model.constant("one_i64", "i64", [], [1]);
  const flat = model.constant("flat", "i64", [1], [-1]);
  const line = (name, index, shape) => {
    const at = model.constant(`${name}_index`, "i64", [1], [index]);
    const flatGrid = model.node("Reshape", `${name}_grid`, ["image_grid_thw", flat]);
    const side = model.node("Gather", `${name}_side`, [flatGrid, at], FIRST);
    const scalar = model.node("Squeeze", `${name}_count`, [side]);
    const range = model.node("Range", `${name}_range`, [zero, scalar, step]);
    const blocks = model.constant(`${name}_blocks`, "i64", [4], shape);
    return { side, blocks: model.node("Reshape", `${name}_in_blocks`, [range, blocks]) };
  };
  const vertical = line("rows", 1, [-1, 1, mergeSize, 1]);
  const horizontal = line("columns", 2, [1, -1, 1, mergeSize]);
  // Spread over each other: (rows / m, columns / m, m, m).
  const spread = (name, own, other) => {
    const nothing = model.node("Mul", `${name}_nothing`, [other.blocks, zero]);
    const all = model.node("Add", `${name}_spread`, [own.blocks, nothing]);
    const places = model.node("Reshape", `${name}_places`, [all, flat]);
    return {
      places: model.node("Cast", `${name}_of_patches`, [places], FLOAT),
      side: model.node("Cast", `${name}_side_f32`, [own.side], FLOAT),
    };
  };
  return [spread("rows", vertical, horizontal), spread("columns", horizontal, vertical)];
}

/** The first quarter of a head turns with the row, the second with the column. */
function rotaryTables(model, rows, columns, { headSize, ropeTheta }) {
  const quarter = headSize / 4;
  const frequencies = model.constant("frequencies", "f32", [quarter], inverse(quarter, ropeTheta));
  const lastAxis = model.constant("last_axis", "i64", [1], [-1]);
  const angles = [rows, columns].map(({ places }) => {
    const column = model.node("Unsqueeze", `${places}.column`, [places, lastAxis]);
    return model.node("Mul", `${places}.angles`, [column, frequencies]); // (N, hd / 4)
  });
  const both = model.node("Concat", "angles", angles, LAST);
  const first = model.constant("zero_axis", "i64", [1], [0]);
  const table = model.node("Unsqueeze", "angles_table", [both, first]); // (1, N, hd / 2)
  model.node("Cos", "rotary_cos", [table]);
  model.node("Sin", "rotary_sin", [table]);
}

/** The four entries of the position table around each patch, and their weights: [4, N] each. */
function positionCorners(model, rows, columns, gridSize) {
  const one = model.constant("one_f32", "f32", [], [1]);
  const last = model.constant("last_entry", "f32", [], [gridSize - 1]);
  const around = ({ places, side }) => {
    const name = (step) => `${places}.${step}`;
    const gaps = model.node("Sub", name("gaps"), [side, one]);
    const stretched = model.node("Mul", name("stretched"), [places, last]);
    const at = model.node("Div", name("at"), [stretched, gaps]);
    const low = model.node("Floor", name("low"), [at]);
    const next = model.node("Add", name("next"), [low, one]);
    const high = model.node("Min", name("high"), [next, last]);
    const highWeight = model.node("Sub", name("high_weight"), [at, low]);
    const lowWeight = model.node("Sub", name("low_weight"), [one, highWeight]);
    return [
      [low, lowWeight],
      [high, highWeight],
    ];
  };
  const width = model.constant("grid_size", "f32", [], [gridSize]);
  const first = model.constant("zero_axis", "i64", [1], [0]);
  const sides = around(columns);
  const corners = around(rows).flatMap(([y, yWeight]) =>
    sides.map(([x, xWeight]) => ({ y, x, yWeight, xWeight })),
  );
  const stacked = (name, makeRow) => {
    const each = corners.map((corner, index) => {
      const row = makeRow(corner, `${name}.${index}`);
      return model.node("Unsqueeze", `${name}.${index}.row`, [row, first]);
    });
    return model.node("Concat", name, each, FIRST);
  };
  stacked("pos_embed_weights", ({ yWeight, xWeight }, name) =>
    model.node("Mul", name, [yWeight, xWeight]),
  );
  const entries = stacked("pos_embed_entries", ({ y, x }, name) => {
    const begin = model.node("Mul", `${name}.begin`, [y, width]);
    return model.node("Add", name, [begin, x]);
  });
  model.node("Cast", "pos_embed_indices", [entries], INT64);
}

function withoutDeepstack(config) {
  return { ...config, vision: { ...config.vision, deepstackLayers: [] } };
}

/** Leaves out what is computed in the graph. The batch has the name by which empty caches are given their size. */
function keepInputs(model, computed) {
  const sized = (value) => ({
    ...value,
    shape: value.shape.map((side) => (side === "batch" ? "batch_size" : side)),
  });
  const kept = model.inputs.filter(({ name }) => !computed.includes(name)).map(sized);
  model.inputs.splice(0, model.inputs.length, ...kept);
}

function replaceOutput(model, name, shape) {
  const index = model.outputs.findIndex((output) => output.name === name);
  model.outputs.splice(index, 1, { name, type: "f32", shape });
}

function renamed(node, from, to) {
  const other = (name) => (name === from ? to : name);
  const { name, inputs, outputs } = node;
  return { ...node, name: other(name), inputs: inputs.map(other), outputs: outputs.map(other) };
}

/** A side of a tensor, as a number without dimensions. */
function sizeOf(model, tensor, axis) {
  const shape = model.node("Shape", `${tensor}.shape`, [tensor]);
  const index = model.constant(`axis_${axis}`, "i64", [], [axis]);
  return model.node("Gather", `${tensor}.size`, [shape, index], FIRST);
}

function inverse(count, theta) {
  return Array.from({ length: count }, (_, j) => 1 / Math.fround(theta ** Math.fround(j / count)));
}
