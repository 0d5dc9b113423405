// Uses ONNX Runtime through onnxruntime-node's binding and through its C API in one process, in the order that is
// asked for, and tells what both computed and how many copies of the library are loaded.

import { readFileSync } from "node:fs";
import { Session } from "../../../../src/vlm/runtime/session.ts";
import { Value } from "../../../../src/vlm/runtime/value.ts";

const [graph = "", first = ""] = process.argv.slice(2);

async function throughBinding(): Promise<number[]> {
  const { InferenceSession, Tensor } = await import("onnxruntime-node");
  const session = await InferenceSession.create(graph);
  const results = await session.run({
    x: new Tensor("float32", [1, 2], [2]),
    index: new Tensor("int64", [0n], [1]),
  });
  await session.release();
  return [...(results.y!.data as Float32Array)];
}

async function throughOurs(): Promise<number[]> {
  await using session = await Session.load(graph);
  const y = new Float32Array(2);
  const index = Value.of(BigInt64Array.of(0n), [1]);
  await session.run({ x: Value.of(Float32Array.of(1, 2), [2]), index }, { y: Value.of(y, [2]) });
  return [...y];
}

const ways = [throughBinding, throughOurs, throughBinding, throughOurs];
if (first === "ours") ways.reverse();
const results: number[][] = [];
for (const way of ways) results.push(await way());

const maps = process.platform === "linux" ? readFileSync("/proc/self/maps", "utf8") : "";
const copies = new Set(
  maps.split("\n").flatMap((line) => line.match(/\S*libonnxruntime\S*$/) ?? []),
);
process.stdout.write(JSON.stringify({ results, copies: copies.size }));
