import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { fingerprintFile } from "../../../src/vlm/convert/hashed-file.ts";
import { isPackageOf, type PackageManifest } from "../../../src/vlm/convert/manifest.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("isPackageOf", () => {
  const precision = { decoder: "w8a8", vision: "w8a8" } as const;
  let parent: string;
  let manifest: PackageManifest;
  beforeAll(async () => {
    parent = await tempDir();
    const checkpointDir = await syntheticCheckpoint(join(parent, "checkpoint"));
    const outputDir = join(parent, "package");
    manifest = await convertCheckpoint({ checkpointDir, outputDir, precision: "w8a8" });
  });

  it("recognises the checkpoint, wherever it lies", async () => {
    const copy = await syntheticCheckpoint(join(parent, "copy"));
    expect(await isPackageOf(manifest, copy, precision)).toBe(true);
  });

  it("sees other weights of the same size, other settings, and a checkpoint that is gone", async () => {
    const trained = await syntheticCheckpoint(join(parent, "trained"), { seed: 2 });
    expect(await isPackageOf(manifest, trained, precision)).toBe(false);
    const edited = await syntheticCheckpoint(join(parent, "edited"));
    await writeFile(join(edited, "tokenizer_config.json"), "{}");
    expect(await isPackageOf(manifest, edited, precision)).toBe(false);
    expect(await isPackageOf(manifest, join(parent, "nowhere"), precision)).toBe(false);
  });

  it("sees another precision and another converter", async () => {
    const checkpoint = join(parent, "checkpoint");
    expect(await isPackageOf(manifest, checkpoint, { ...precision, decoder: "q4" })).toBe(false);
    expect(await isPackageOf(manifest, checkpoint, { ...precision, vision: "fp32" })).toBe(false);
    const older = { ...manifest, converterVersion: "0" };
    expect(await isPackageOf(older, checkpoint, precision)).toBe(false);
  });
});

describe("fingerprintFile", () => {
  it("covers files of up to 2 MiB whole", async () => {
    const path = join(await tempDir(), "file");
    const bytes = Buffer.alloc(2 * 1024 * 1024, 7);
    await writeFile(path, bytes);
    const before = await fingerprintFile(path);
    for (const at of [0, 65_535, 1_000_000, bytes.length - 1]) {
      bytes[at] = 8;
      await writeFile(path, bytes);
      expect(await fingerprintFile(path)).not.toBe(before);
      bytes[at] = 7;
    }
    await writeFile(path, (await readFile(path)).subarray(1));
    expect(await fingerprintFile(path)).not.toBe(before);
  });
});
