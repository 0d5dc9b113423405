// Tiny ONNX files for tests of the runtime, written on the spot.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OnnxModel } from "../../../src/vlm/convert/onnx-model.ts";

/** A directory with the test graphs; remove it when done. */
export interface GraphDirectory {
  readonly directory: string;
  readonly path: (name: GraphName) => string;
  readonly remove: () => Promise<void>;
}

export type GraphName = keyof typeof GRAPHS;

export async function writeGraphs(): Promise<GraphDirectory> {
  const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-runtime-"));
  const path = (name: GraphName) => join(directory, `${name}.onnx`);
  for (const [name, build] of Object.entries(GRAPHS)) {
    const graph = new OnnxModel(name);
    build(graph);
    await writeFile(path(name as GraphName), graph.serialize(`${name}.data`, "test"));
  }
  return { directory, path, remove: () => rm(directory, { recursive: true }) };
}

const GRAPHS = {
  /** y [N] = x [N] + 1, index [1] passed through: one float and one integer input. */
  increment(graph: OnnxModel) {
    graph.input("x", "f32", ["N"]);
    graph.input("index", "i64", [1]);
    graph.constant("one", "f32", [1], [1]);
    graph.node("Add", "y", ["x", "one"]);
    graph.node("Identity", "same", ["index"]);
    graph.output("y", "f32", ["N"]);
    graph.output("same", "i64", [1]);
  },

  /** product [N, N] = x [N, N] multiplied by itself 400 times and scaled down: a good while at N = 256. */
  heavy(graph: OnnxModel) {
    graph.input("x", "f32", ["N", "N"]);
    graph.constant("shrink", "f32", [1], [1e-3]);
    let previous = "x";
    for (let step = 0; step < 400; step++) {
      const product = graph.node("MatMul", `product${step}`, [previous, "x"]);
      previous = graph.node("Mul", `scaled${step}`, [product, "shrink"]);
    }
    graph.node("Identity", "product", [previous]);
    graph.output("product", "f32", ["N", "N"]);
  },
};
