// Packages of other programs among the pulled models: whoever puts one there finds it by its name.

import { rename } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { listModels } from "../../src/cli/list.ts";
import { findNamedModel } from "../../src/cli/named-model.ts";
import { printPath } from "../../src/cli/path.ts";
import { removeModel } from "../../src/cli/remove.ts";
import { verifyModel } from "../../src/cli/verify.ts";
import { ModelStore } from "../../src/vlm/hub/model-store.ts";
import { communityPackage } from "../support/community-package.ts";
import { goldenCheckpoint } from "../support/golden-checkpoint.ts";
import { mobiusPackage } from "../support/mobius-package.ts";
import { tempDir } from "../support/temp-dir.ts";

let models: string;
let mobius: string;
const printed: string[] = [];

beforeEach(async () => {
  models = await tempDir();
  printed.length = 0;
  vi.stubEnv("NAPCAT_VLM_MODELS", models);
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, "write").mockImplementation((text) => {
      printed.push(String(text).trimEnd());
      return true;
    });
  }
  const parent = await tempDir();
  mobius = join(models, "models--Some--tiny-ONNX");
  await rename(await mobiusPackage("tiny-tied", parent), mobius);
  const community = await communityPackage(await goldenCheckpoint("tiny-tied", parent), parent, {
    decoders: ["fp32", "q4"],
  });
  await rename(community, join(models, "models--onnx-community--tiny"));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

it("lists them with their layout, their formats and their size", async () => {
  await listModels({ json: false });
  expect(printed.join("\n")).toMatch(
    /^Some\/tiny-ONNX · mobius 2\.3 MB\nonnx-community\/tiny · onnx-community fp32 q4 \d\.\d MB\n/,
  );
  printed.length = 0;
  await listModels({ json: true });
  expect(JSON.parse(printed.join("\n"))).toMatchObject([
    {
      name: "Some/tiny-ONNX",
      isComplete: true,
      packages: [],
      foreign: { layout: "mobius", directory: mobius },
    },
    { name: "onnx-community/tiny", foreign: { layout: "onnx-community" } },
  ]);
});

it("finds them by name, for start and for scripts", async () => {
  const wanted = { precision: undefined, device: "cpu" as const };
  expect(await findNamedModel({ ...wanted, model: "Some/tiny-ONNX" })).toBe(mobius);
  await printPath("Some/tiny-ONNX");
  expect(printed).toEqual([mobius]);
});

it("has no hashes to verify them with, and says so", async () => {
  expect(await verifyModel("Some/tiny-ONNX", new AbortController().signal)).toBe(1);
  expect(printed.join("\n")).toContain("napcat-vlm doctor --model Some/tiny-ONNX");
});

it("removes them", async () => {
  expect(await removeModel("Some/tiny-ONNX")).toBe(0);
  expect(await new ModelStore(models).find("Some/tiny-ONNX")).toBeUndefined();
  expect(await new ModelStore(models).find("onnx-community/tiny")).toBeDefined();
});
