import { type InferenceSession, Tensor } from "onnxruntime-node";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Int8Weights,
  LinearLayers,
  type Precision,
  WEIGHT_ZERO_POINT,
} from "../../../src/vlm/convert/linear-layers.ts";
import { OnnxModel } from "../../../src/vlm/convert/onnx-model.ts";
import {
  int4Blocks,
  int8RowScales,
  quantizeInt4Rows,
  turnInt8Rows,
  turnRows,
} from "../../../src/vlm/convert/quantize.ts";
import { saturationProbe } from "../../../src/vlm/convert/saturation-probe.ts";
import { relativeError } from "../../support/float-error.ts";
import { gaussians } from "../../support/gaussians.ts";
import { openSession } from "../../support/graph-runner.ts";

const sessions: InferenceSession[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.release();
});

/** Runs a model with one input x (rows, columns) and one output y. */
async function run(
  model: OnnxModel,
  x: Float32Array,
  columns: number,
  exact = true,
): Promise<Float32Array> {
  return (await runAll(model, x, columns, exact)).y!;
}

/** The same for any outputs. */
async function runAll(
  model: OnnxModel,
  x: Float32Array,
  columns: number,
  exact = true,
): Promise<Record<string, Float32Array>> {
  const session = await openSession(model.serialize("none", "1"), exact);
  sessions.push(session);
  const tensor = new Tensor("float32", x, [x.length / columns, columns]);
  const outputs = Object.entries(await session.run({ x: tensor }));
  return Object.fromEntries(outputs.map(([name, { data }]) => [name, data as Float32Array]));
}

/** x (M, K) times the transpose of weights (N, K), in float64. */
function reference(x: Float32Array, weights: Float32Array, rows: number, columns: number) {
  const tokens = x.length / columns;
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [token, row] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) {
      sum += (x[token * columns + k] as number) * (weights[row * columns + k] as number);
    }
    return sum;
  });
}

/** A model of one product by the real emitter. */
function product(
  weights: Float32Array,
  rows: number,
  columns: number,
  precision: Precision,
  int8Weights: Int8Weights = "s8",
) {
  const model = new OnnxModel("product");
  const layers = new LinearLayers(model, int8Weights);
  const x = model.input("x", "f32", ["tokens", columns]);
  layers.product("y", x, { sources: ["w"], rows, columns }, precision);
  model.output("y", "f32", ["tokens", rows]);
  fillWeights(model, layers, new Map([["w", { weights, rows, columns }]]));
  return model;
}

interface Weight {
  readonly weights: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** Puts weights into the graph instead of a data file. */
function fillWeights(model: OnnxModel, layers: LinearLayers, bySource: Map<string, Weight>): void {
  model.externals.length = 0;
  for (const line of layers.plan) {
    if (line.kind === "values") throw new Error("Expected a matrix.");
    const { weights, rows, columns } = bySource.get(line.sources[0]!)!;
    const place = { firstRow: 0, allRows: rows, firstColumn: 0, endColumn: columns };
    const { name, type, shape } = line.target;
    if (line.kind === "transposed") {
      const turned = new Float32Array(rows * columns);
      turnRows(weights, rows, columns, turned, place);
      model.constant(name, type, shape, [...turned]);
      continue;
    }
    const scales = new Float32Array(line.scales.byteLength / 4);
    if (line.kind === "int8") {
      const levels = new Uint8Array(rows * columns);
      const paired = line.form === "s8-paired";
      int8RowScales(weights, rows, columns, scales, paired);
      const zeroPoint = WEIGHT_ZERO_POINT[line.form];
      turnInt8Rows(weights, rows, columns, scales, levels, place, zeroPoint, paired);
      model.constant(name, type, shape, [...levels]);
    } else {
      const packed = new Uint8Array(rows * int4Blocks(columns) * 64);
      quantizeInt4Rows(weights, rows, columns, packed, scales);
      model.constant(name, type, shape, [...packed]);
    }
    model.constant(line.scales.name, "f32", line.scales.shape, [...scales]);
  }
}

/** The same int8 weights, but one activation scale for all tokens: what per-token scales are better than. */
function perTensorProduct(weights: Float32Array, rows: number, columns: number) {
  const scales = new Float32Array(rows);
  const levels = new Uint8Array(rows * columns);
  int8RowScales(weights, rows, columns, scales);
  const place = { firstRow: 0, allRows: rows, firstColumn: 0, endColumn: columns };
  turnInt8Rows(weights, rows, columns, scales, levels, place, 0);
  const model = new OnnxModel("per_tensor");
  const inputs = [
    model.input("x", "f32", ["tokens", columns]),
    model.constant("w", "i8", [columns, rows], [...levels]),
    model.constant("s", "f32", [rows], [...scales]),
  ];
  model.node("DynamicQuantizeMatMul", "y", inputs, {}, "com.microsoft");
  model.output("y", "f32", ["tokens", rows]);
  return model;
}

describe("LinearLayers", () => {
  // Inner sizes of the golden checkpoints, of the tiny chat model and of the 8B's vision encoder.
  const sizes = [32, 56, 64, 96, 130, 448, 4304];

  it.each(sizes)("multiplies weights of %i columns in every precision", async (columns) => {
    const rows = 48;
    const weights = gaussians(rows * columns, 1);
    for (const tokens of [1, 7]) {
      const x = gaussians(tokens * columns, 2);
      const expected = reference(x, weights, rows, columns);
      const error = async (precision: Precision) =>
        relativeError(await run(product(weights, rows, columns, precision), x, columns), expected);
      expect(await error("fp32")).toBeLessThan(1e-6);
      expect(await error("w8a8")).toBeLessThan(0.015);
      expect(await error("q4")).toBeLessThan(0.13);
    }
  });

  it("keeps ordinary tokens exact beside tokens with outliers, where one scale for all does not", async () => {
    const [rows, columns, tokens] = [64, 256, 8];
    const weights = gaussians(rows * columns, 3);
    const x = gaussians(tokens * columns, 4);
    // One token a hundred times larger, as the first tokens of a real prompt are.
    for (let k = 0; k < columns; k++) x[k] = (x[k] as number) * 100;
    const expected = reference(x, weights, rows, columns);
    const ordinary = (y: ArrayLike<number>) => Array.from(y).slice(rows);
    const error = async (model: OnnxModel) =>
      relativeError(ordinary(await run(model, x, columns)), ordinary(expected));
    const perToken = await error(product(weights, rows, columns, "w8a8"));
    const perTensor = await error(perTensorProduct(weights, rows, columns));
    expect(perToken).toBeLessThan(0.015);
    expect(perTensor).toBeGreaterThan(20 * perToken);
  });

  it("survives full-range weights and activations, which saturate x64 kernels without VNNI", async () => {
    const [rows, columns] = [32, 256];
    const signs = gaussians(rows * columns, 5).map(Math.sign);
    const x = new Float32Array(columns).fill(1);
    const expected = reference(x, signs, rows, columns);
    const y = await run(product(signs, rows, columns, "w8a8"), x, columns);
    expect(relativeError(y, expected)).toBeLessThan(1e-5);
  });

  it.each(["u8", "s8-paired"] as const)(
    "needs no setting for exact products of %s",
    async (form) => {
      const [rows, columns] = [32, 256];
      const signs = gaussians(rows * columns, 5).map(Math.sign);
      const model = product(signs, rows, columns, "w8a8", form);
      for (const sign of [1, -1]) {
        const x = new Float32Array(columns).fill(sign);
        const y = await run(model, x, columns, false);
        expect(relativeError(y, reference(x, signs, rows, columns))).toBeLessThan(1e-5);
      }
    },
  );

  it("loses far less than a bit when neighbours are cut to fit into 16 bits", async () => {
    const [rows, columns] = [48, 449];
    const weights = gaussians(rows * columns, 1);
    const x = gaussians(7 * columns, 2);
    const expected = reference(x, weights, rows, columns);
    const error = async (form: Int8Weights) =>
      relativeError(await run(product(weights, rows, columns, "w8a8", form), x, columns), expected);
    expect(await error("s8-paired")).toBeLessThan(1.45 * (await error("s8")));
  });

  it.each(["fp32", "w8a8", "q4"] as const)("carries the factor of a row into %s", async (next) => {
    const [rows, columns] = [32, 64];
    const there = gaussians(rows * columns, 11);
    const back = gaussians(columns * rows, 13);
    const x = gaussians(3 * columns, 12);
    const model = new OnnxModel("chain");
    const layers = new LinearLayers(model, "s8");
    const input = model.input("x", "f32", ["tokens", columns]);
    const raw = layers.unscaledProduct("a", input, { sources: ["a"], rows, columns }, "w8a8");
    const doubled = model.node("Add", "doubled", [raw, raw]);
    layers.carryRowScale(raw, doubled);
    model.output(layers.applyRowScale(doubled, "whole"), "f32", ["tokens", rows]);
    layers.product("y", doubled, { sources: ["b"], rows: columns, columns: rows }, next);
    model.output("y", "f32", ["tokens", columns]);
    const weights = new Map([
      ["a", { weights: there, rows, columns }],
      ["b", { weights: back, rows: columns, columns: rows }],
    ]);
    fillWeights(model, layers, weights);
    const { whole, y } = await runAll(model, x, columns);
    const once = await run(product(there, rows, columns, "w8a8"), x, columns);
    const twice = once.map((value) => 2 * value);
    expect(relativeError(whole!, twice)).toBeLessThan(1e-6);
    const limit = { fp32: 1e-6, w8a8: 0.015, q4: 0.13 }[next];
    expect(relativeError(y!, reference(twice, back, columns, rows))).toBeLessThan(limit);
  });

  it("gives the same numbers for signed and unsigned weights", async () => {
    const [rows, columns] = [48, 130];
    const weights = gaussians(rows * columns, 8);
    const x = gaussians(5 * columns, 9);
    const signed = await run(product(weights, rows, columns, "w8a8", "s8"), x, columns);
    const unsigned = await run(product(weights, rows, columns, "w8a8", "u8"), x, columns);
    expect(relativeError(unsigned, signed)).toBeLessThan(1e-6);
  });

  it("turns rows of zeros, and rows of any magnitude, into numbers", async () => {
    const [rows, columns] = [16, 64];
    const weights = gaussians(rows * columns, 6);
    const base = gaussians(columns, 7);
    for (const precision of ["w8a8", "q4"] as const) {
      const model = product(weights, rows, columns, precision);
      const zeros = await run(model, new Float32Array(2 * columns), columns);
      expect([...zeros].every((value) => Math.abs(value) === 0)).toBe(true);
      for (const magnitude of [1e-20, 1e15]) {
        const x = base.map((value) => value * magnitude);
        const y = await run(model, x, columns);
        expect(relativeError(y, reference(x, weights, rows, columns))).toBeLessThan(0.13);
      }
    }
  });

  it("quantises an activation once for all products that share it", () => {
    const model = new OnnxModel("shared");
    const layers = new LinearLayers(model, "s8");
    const x = model.input("x", "f32", ["tokens", 8]);
    for (const name of ["gate", "up"]) {
      layers.product(name, x, { sources: [name], rows: 4, columns: 8 }, "w8a8");
    }
    expect(model.nodes.filter(({ op }) => op === "QuantizeLinear")).toHaveLength(1);
  });
});

describe("saturationProbe", () => {
  it("answers exactly once the key for exact products is set", async () => {
    const probe = saturationProbe();
    const session = await openSession(probe.model, true);
    sessions.push(session);
    const bytes = new Uint8Array(probe.input.shape[1]).fill(probe.inputByte);
    const outputs = await session.run({
      [probe.input.name]: new Tensor("uint8", bytes, [...probe.input.shape]),
    });
    const products = outputs[probe.output.name]?.data as Float32Array;
    expect([...products]).toEqual(new Array(probe.output.shape[1]).fill(probe.exact));
  });
});
