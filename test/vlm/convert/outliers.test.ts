// Checkpoints with a few channels that are hundreds of times larger than the others: quantised, they must lose no more
// than without, and unquantised stay the same to the last bit. The tiny chat model, changed so that its function stays.

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import type { LayerChoice } from "../../../src/vlm/convert/balance-inputs.ts";
import { ConversionPlan } from "../../../src/vlm/convert/conversion-plan.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { decoderGraph } from "../../../src/vlm/convert/decoder-graph.ts";
import { HashedFile } from "../../../src/vlm/convert/hashed-file.ts";
import type { Precision } from "../../../src/vlm/convert/linear-layers.ts";
import { type PackageManifest, readManifest } from "../../../src/vlm/convert/manifest.ts";
import { RowReader } from "../../../src/vlm/convert/row-reader.ts";
import { StepMeasures } from "../../../src/vlm/convert/step-measures.ts";
import { visionGraph } from "../../../src/vlm/convert/vision-graph.ts";
import { WeightWriter } from "../../../src/vlm/convert/weight-writer.ts";
import { loadQwen3Vl } from "../../../src/vlm/qwen3-vl.ts";
import { drawShapes } from "../../support/draw.ts";
import { relativeError } from "../../support/float-error.ts";
import { gaussians } from "../../support/gaussians.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { type Features, GraphRunner } from "../../support/graph-runner.ts";
import { type OutlierPlace, outlierPatch } from "../../support/outliers.ts";
import { patchedCheckpoint } from "../../support/patched-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { userMessage } from "../../support/tiny-chat.ts";

const GRID = 8;
const [VISION_START, IMAGE_PAD, VISION_END] = [1673, 1676, 1674];

interface Answer {
  readonly features: Features;
  /** (tokens, vocabulary) */
  readonly logits: Float32Array;
}

/** One picture of noise between a few words. */
async function answer(packageDir: string): Promise<Answer> {
  const runner = await GraphRunner.open(packageDir);
  const pixels = gaussians(GRID * GRID * 1536, 1).map((value) => Math.tanh(value));
  const features = await runner.encode(pixels, GRID, GRID);
  const pictureTokens = new Array<number>((GRID * GRID) / 4).fill(IMAGE_PAD);
  const ids = [1665, 100, 10, VISION_START, ...pictureTokens, VISION_END, 30, 40, 1666];
  const positions = ids.map((_, i) => i);
  runner.reset(64);
  const logits = await runner.decode({
    ids,
    positions: [positions, positions, positions],
    features,
  });
  await runner.close();
  return { features, logits };
}

let dir: string;
let reference: Answer;
let count = 0;

beforeAll(async () => {
  dir = await tempDir();
  reference = await converted(TINY_CHAT, "fp32").then(({ packageDir }) => answer(packageDir));
});

async function converted(
  checkpointDir: string,
  precision: Precision,
): Promise<{ packageDir: string; manifest: PackageManifest }> {
  const packageDir = join(dir, `package-${count++}`);
  const manifest = await convertCheckpoint({ checkpointDir, outputDir: packageDir, precision });
  return { packageDir, manifest };
}

const outliers = async (place: OutlierPlace, k: number, channels: number) =>
  patchedCheckpoint(join(dir, `checkpoint-${count++}`), await outlierPatch({ place, k, channels }));

const VARIANTS: readonly (readonly [OutlierPlace, number, number])[] = [
  ["norm", 64, 1],
  ["norm", 64, 4],
  ["norm", 256, 1],
  ["norm", 256, 4],
  ["norm", 4096, 8],
  ["down_proj", 64, 16],
  ["down_proj", 1024, 16],
  ["down_proj", 4096, 16],
  ["down_proj", 16384, 16],
  ["o_proj", 1024, 4],
  ["attn.proj", 1024, 4],
  ["merger", 1024, 4],
];

describe("channels that stand out", () => {
  // The limits of the model without them; see tiny-chat.test.ts.
  it.each(VARIANTS)(
    "costs nothing in %s times %d, %d channels each",
    async (place, k, channels) => {
      const checkpoint = await outliers(place, k, channels);
      for (const [precision, logitLimit] of [
        ["w8a8", 0.03],
        ["q4", 0.07],
      ] as const) {
        const { features, logits } = await answer(
          (await converted(checkpoint, precision)).packageDir,
        );
        expect(relativeError(features.image, reference.features.image)).toBeLessThan(0.06);
        features.deepstack.forEach((tap, k) => {
          expect(relativeError(tap, reference.features.deepstack[k] ?? [])).toBeLessThan(0.06);
        });
        expect(relativeError(logits, reference.logits)).toBeLessThan(logitLimit);
      }
    },
  );

  const COLORS = ["red", "green", "blue", "yellow", "black"] as const;
  const SHAPES = ["circle", "square", "triangle"] as const;
  const WORDS = {
    ...{ red: "红色", green: "绿色", blue: "蓝色", yellow: "黄色", black: "黑色" },
    ...{ circle: "圆形", square: "正方形", triangle: "三角形" },
  };

  it.each([
    ["w8a8", "norm", 256, 4],
    ["q4", "norm", 256, 4],
    ["w8a8", "down_proj", 16384, 16],
    ["q4", "down_proj", 16384, 16],
  ] as const)(
    "%s still sees with %s times %d, %d channels each",
    async (precision, place, k, channels) => {
      const model = await loadQwen3Vl({ model: await outliers(place, k, channels), precision });
      let right = 0;
      for (const color of COLORS) {
        for (const shape of SHAPES) {
          const messages = [userMessage(await drawShapes([{ shape, color }]), "图里有什么？")];
          const { text } = await model.generate({ messages, temperature: 0, maxTokens: 40 });
          if (text.includes(WORDS[color]) && text.includes(WORDS[shape])) right++;
        }
      }
      await model.dispose();
      expect(right).toBeGreaterThanOrEqual(14);
    },
  );
});

describe("moved scales", () => {
  it("leave the function of the model as it is, to the last bit", async () => {
    const checkpointDir = await outliers("norm", 256, 4);
    const plain = await converted(checkpointDir, "fp32");
    const before = await answer(plain.packageDir);
    const checkpoint = await openCheckpoint(checkpointDir);
    const { config } = checkpoint;
    const formats = { precision: { decoder: "w8a8", vision: "w8a8" }, device: "cpu" } as const;
    const { tracks } = new ConversionPlan(checkpoint, formats);
    const measures = new StepMeasures(checkpoint, tracks, {});
    const { moves } = measures.balance;
    const layers: LayerChoice[] = [];
    for (const step of tracks.flat()) layers.push(...(await measures.measure(step)));
    expect(layers.filter(({ moved }) => moved > 0).length).toBeGreaterThanOrEqual(22);
    for (const { plan, model } of [visionGraph(config, "fp32"), decoderGraph(config, "fp32")]) {
      const path = join(plain.packageDir, `${model.name}.onnx.data`);
      const stored = await readFile(path);
      await rm(path);
      const file = await HashedFile.create(path);
      await new WeightWriter(new RowReader(checkpoint, moves), file).write(plan);
      await file.finish();
      expect((await readFile(path)).equals(stored)).toBe(false);
    }
    await checkpoint.close();
    const after = await answer(plain.packageDir);
    expect(after.logits).toEqual(before.logits);
    expect(after.features).toEqual(before.features);
  });
});

describe("what is chosen for a layer", () => {
  it("is told in the manifest, and nothing for fp32", async () => {
    const { manifest } = await converted(await outliers("down_proj", 1024, 16), "w8a8");
    const names = manifest.layers.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const down = manifest.layers.filter(({ name }) => name.endsWith("down_proj"));
    expect(down).toHaveLength(5);
    for (const { moved, error, plainError, precision } of down) {
      expect(precision).toBe("w8a8");
      expect(moved).toBeGreaterThan(0);
      expect(error).toBeLessThan(0.03);
      expect(plainError).toBeGreaterThan(0.3);
    }
    expect((await converted(TINY_CHAT, "fp32")).manifest.layers).toEqual([]);
  });

  it("is a wider format where no scale can be moved, behind GELU", async () => {
    // One channel of block 2 is always large: 500 in its bias, and next to nothing where it is read.
    const change = (name: string, bytes: Buffer) => {
      const path = "model.visual.blocks.2.mlp.linear_fc";
      const result = Buffer.from(bytes);
      const one = Buffer.from(Uint16Array.of(0x43fa).buffer);
      if (name === `${path}1.bias`) one.copy(result, 2 * 7);
      if (name === `${path}2.weight`) {
        for (let row = 0; row < 128; row++) result.writeUInt16LE(0, 2 * (row * 384 + 7));
      }
      return result;
    };
    const checkpointDir = await patchedCheckpoint(join(dir, "gelu"), { change });
    const expected = await answer((await converted(checkpointDir, "fp32")).packageDir);
    const { packageDir, manifest } = await converted(checkpointDir, "w8a8");
    const wider = manifest.layers.filter(({ precision }) => precision !== "w8a8");
    expect(wider.map(({ name }) => name)).toEqual(["blocks.2.mlp.linear_fc2"]);
    const { features } = await answer(packageDir);
    expect(relativeError(features.image, expected.features.image)).toBeLessThan(0.06);
    // A changed manifest is refused like any other wrong one.
    const file = join(packageDir, "manifest.json");
    const text = await readFile(file, "utf8");
    await writeFile(file, text.replace('"moved": 0', '"moved": 7'));
    await expect(readManifest(packageDir)).rejects.toThrow("moved");
  });
});
