import { copyFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleChild, type Child } from "../../support/child-process.ts";
import { type GraphDirectory, writeGraphs } from "./small-graphs.ts";

let graphs: GraphDirectory;
let exiting: Child;
let sharing: Child;

beforeAll(async () => {
  graphs = await writeGraphs();
  exiting = await bundleChild(new URL("./children/exit-during-run.ts", import.meta.url));
  // Node loads the file of a worker by itself; it is in no bundle.
  const worker = new URL("../../../src/vlm/runtime/device-thread-worker.js", import.meta.url);
  await copyFile(worker, join(dirname(exiting.script), basename(worker.pathname)));
  sharing = await bundleChild(new URL("./children/share-library.ts", import.meta.url));
});

afterAll(async () => {
  await Promise.all([graphs.remove(), exiting.remove(), sharing.remove()]);
});

describe("a process that ends", () => {
  it.each([
    ["run", "normal"],
    ["load", "normal"],
    ["nothing", "normal"],
    ["run", "low"],
    ["load", "low"],
    ["nothing", "low"],
  ])("is not disturbed by ONNX Runtime: %s, of %s priority", async (moment, priority) => {
    for (let time = 0; time < 2; time++) {
      const result = await exiting.run(graphs.path("heavy"), moment, priority);
      expect(result).toEqual({ exitCode: 0, signal: null, stdout: "", stderr: "" });
    }
  });
});

describe("the binding of onnxruntime-node", () => {
  it.each(["ours", "theirs"])("shares one library with this code; first: %s", async (first) => {
    const { exitCode, stdout, stderr } = await sharing.run(graphs.path("increment"), first);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const { results, copies } = JSON.parse(stdout);
    expect(results).toEqual(Array(4).fill([2, 3]));
    expect(copies).toBe(process.platform === "linux" ? 1 : 0);
  });
});
