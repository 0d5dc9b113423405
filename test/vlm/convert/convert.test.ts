import { createHash } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import type { ConvertProgress } from "../../../src/vlm/convert/convert-options.ts";
import { readManifest, verifyPackage } from "../../../src/vlm/convert/manifest.ts";
import { ModelLoadError } from "../../../src/vlm/errors.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** Every file of a directory with the SHA-256 of its bytes. */
async function contents(dir: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const file of (await readdir(dir)).sort()) {
    files[file] = createHash("sha256")
      .update(await readFile(join(dir, file)))
      .digest("hex");
  }
  return files;
}

describe("convertCheckpoint", () => {
  let parent: string;
  let checkpointDir: string;
  let outputDir: string;

  beforeEach(async () => {
    parent = await tempDir();
    checkpointDir = await syntheticCheckpoint(join(parent, "checkpoint"));
    outputDir = join(parent, "package");
  });

  const convert = (options: Partial<Parameters<typeof convertCheckpoint>[0]> = {}) =>
    convertCheckpoint({ checkpointDir, outputDir, precision: "w8a8", ...options });

  it("writes a package whose manifest describes every file", async () => {
    await writeFile(join(checkpointDir, "generation_config.json"), "{}");
    await writeFile(join(checkpointDir, "chat_template.jinja"), "{{ messages }}");
    const manifest = await convert();
    const files = await contents(outputDir);
    expect(Object.keys(files)).toEqual([
      "chat_template.jinja",
      "config.json",
      "decoder.fp16-cache.onnx",
      "decoder.int8-cache.onnx",
      "decoder.onnx",
      "decoder.onnx.data",
      "embed_tokens.bin",
      "generation_config.json",
      "manifest.json",
      "preprocessor_config.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "vision_encoder.onnx",
      "vision_encoder.onnx.data",
    ]);
    const { "manifest.json": _, ...described } = files;
    expect(Object.fromEntries(manifest.outputs.map(({ file, sha256 }) => [file, sha256]))).toEqual(
      described,
    );
    const inputs = await contents(checkpointDir);
    expect(Object.fromEntries(manifest.inputs.map(({ file, sha256 }) => [file, sha256]))).toEqual(
      inputs,
    );
    expect(manifest).toMatchObject({
      formatVersion: 1,
      opset: 23,
      source: { name: "checkpoint" },
      precision: { decoder: "w8a8", vision: "w8a8" },
      embedTokens: { file: "embed_tokens.bin", dtype: "bf16", rows: 100, columns: 40 },
    });
    expect(manifest.decoder.inputs["past_key_values.1.value"]).toBe("f32[batch, 2, capacity, 16]");
    expect(manifest.visionEncoder.outputs.deepstack_features).toBe("f32[2, image_tokens, 40]");
    expect(await readManifest(outputDir)).toEqual(manifest);
    expect(await verifyPackage(outputDir, { hashes: true })).toEqual(manifest);
  });

  it("gives the same bytes for the same checkpoint, and nothing that tells when or where", async () => {
    await convert();
    await convert({ outputDir: join(parent, "other") });
    const [first, second] = [await contents(outputDir), await contents(join(parent, "other"))];
    expect(first).toEqual(second);
    expect(await readFile(join(outputDir, "manifest.json"), "utf8")).not.toContain(parent);
  });

  it.each(["fp32", "w8a8", "q4"] as const)(
    "does not care how the weights are stored, in %s",
    async (precision) => {
      await convert({ precision });
      const reference = await contents(outputDir);
      const f32 = await syntheticCheckpoint(join(parent, "f32"), {
        maxShardBytes: 50_000,
        rename: (name) => name.replace("model.visual.", "visual."),
      });
      await convert({ checkpointDir: f32, precision, outputDir: join(parent, "sharded") });
      const sharded = await contents(join(parent, "sharded"));
      for (const file of ["decoder.onnx.data", "vision_encoder.onnx.data", "embed_tokens.bin"]) {
        expect(sharded[file]).toBe(reference[file]);
      }
    },
  );

  it("keeps the embedding table in the checkpoint's own format", async () => {
    for (const dtype of ["F16", "F32"] as const) {
      const dir = await syntheticCheckpoint(join(parent, dtype), { dtype });
      const { embedTokens, outputs } = await convert({ checkpointDir: dir });
      expect(embedTokens.dtype).toBe(dtype.toLowerCase());
      const bytes = outputs.find(({ file }) => file === embedTokens.file)?.bytes;
      expect(bytes).toBe(100 * 40 * (dtype === "F32" ? 4 : 2));
    }
  });

  it("picks the vision encoder's precision after the decoder's", async () => {
    expect((await convert({ precision: "fp32" })).precision.vision).toBe("fp32");
    expect((await convert({ precision: "q4" })).precision.vision).toBe("w8a8");
    const asked = await convert({ precision: "q4", visionPrecision: "fp32" });
    expect(asked.precision).toEqual({ decoder: "q4", vision: "fp32" });
  });

  it("stores int8 weights signed or unsigned, as asked, and says so", async () => {
    expect((await convert()).int8Weights).toBe("s8");
    const signed = await readFile(join(outputDir, "decoder.onnx.data"));
    expect((await convert({ int8Weights: "u8" })).int8Weights).toBe("u8");
    const unsigned = await readFile(join(outputDir, "decoder.onnx.data"));
    expect(unsigned.length).toBe(signed.length);
    // The first tensor is a norm, the same in both; the packed q, k, v after it are not.
    expect(unsigned.subarray(0, 160).equals(signed.subarray(0, 160))).toBe(true);
    const start = 192;
    expect(unsigned.readUInt8(start)).toBe(signed.readInt8(start) + 128);
  });

  it("reports progress that grows to exactly the total", async () => {
    const seen: ConvertProgress[] = [];
    await convert({ onProgress: (progress) => seen.push(progress) });
    expect(seen.length).toBeGreaterThan(5);
    seen.forEach(({ doneBytes }, i) => {
      expect(doneBytes).toBeGreaterThanOrEqual(seen[i - 1]?.doneBytes ?? 0);
    });
    expect(seen.at(-1)?.doneBytes).toBe(seen.at(-1)?.totalBytes);
    expect([...new Set(seen.map(({ stage }) => stage))]).toEqual([
      "hashing-checkpoint",
      "vision-encoder",
      "decoder",
      "embedding-table",
      "finishing",
    ]);
  });

  it.each(["hashing-checkpoint", "vision-encoder", "decoder", "finishing"] as const)(
    "leaves nothing behind when aborted while %s, and succeeds afterwards",
    async (stage) => {
      const aborter = new AbortController();
      const reason = new Error("enough");
      const onProgress = (progress: ConvertProgress) => {
        if (progress.stage === stage) aborter.abort(reason);
      };
      await expect(convert({ signal: aborter.signal, onProgress })).rejects.toBe(reason);
      expect(await readdir(parent)).toEqual(["checkpoint"]);
      await convert();
      await verifyPackage(outputDir, { hashes: true });
    },
  );

  it("keeps the earlier package when the new conversion fails", async () => {
    await convert();
    const before = await contents(outputDir);
    const signal = AbortSignal.abort(new Error("no"));
    await expect(convert({ precision: "q4", signal })).rejects.toThrow("no");
    expect(await contents(outputDir)).toEqual(before);
    await convert({ precision: "q4" });
    expect((await readManifest(outputDir)).precision.decoder).toBe("q4");
    expect((await readdir(parent)).sort()).toEqual(["checkpoint", "package"]);
  });

  it("sweeps what a killed run left behind, and nothing of others", async () => {
    const host = hostname().replace(/[^A-Za-z0-9]/g, "_");
    const dead = `.package.partial-${host}-999999999-0a0b`;
    const elsewhere = ".package.partial-elsewhere_host-1-0a0b";
    const other = `.other.partial-${host}-999999999-0a0b`;
    for (const name of [dead, elsewhere, other]) {
      await mkdir(join(parent, name));
      await writeFile(join(parent, name, "decoder.onnx.data"), "half");
    }
    await convert();
    const left = (await readdir(parent)).filter((name) => name.startsWith("."));
    expect(left.sort()).toEqual([other, elsewhere].sort());
  });

  it("survives several conversions into one place at once", async () => {
    const runs = Array.from({ length: 4 }, () => convert());
    const results = await Promise.allSettled(runs);
    expect(results.map(({ status }) => status)).toEqual(new Array(4).fill("fulfilled"));
    await verifyPackage(outputDir, { hashes: true });
    expect((await readdir(parent)).sort()).toEqual(["checkpoint", "package"]);
  });

  it("never replaces a directory that is not a package", async () => {
    await mkdir(outputDir);
    await writeFile(join(outputDir, "thesis.txt"), "years of work");
    await expect(convert()).rejects.toThrow("Expected `outputDir` to be new, empty or an earlier");
    expect(await readdir(outputDir)).toEqual(["thesis.txt"]);
  });

  it("never replaces the checkpoint or a directory around it", async () => {
    for (const dir of [checkpointDir, parent]) {
      await expect(convert({ outputDir: dir })).rejects.toThrow("outside the checkpoint's path");
    }
    const inside = join(checkpointDir, "onnx");
    await convert({ outputDir: inside });
    await verifyPackage(inside, { hashes: true });
  });

  it("refuses weights that are not finite, naming the tensor", async () => {
    const path = join(checkpointDir, "model.safetensors");
    const bytes = await readFile(path);
    bytes.writeUInt16LE(0x7fc0, bytes.length - 2);
    await writeFile(path, bytes);
    await expect(convert()).rejects.toThrow("model.language_model.norm.weight holds infinite");
    expect(await readdir(parent)).toEqual(["checkpoint"]);
  });

  it("notices a checkpoint that changes meanwhile", async () => {
    const onProgress = ({ stage }: ConvertProgress) => {
      if (stage === "decoder") changed ??= appendFile(join(checkpointDir, "config.json"), " ");
    };
    let changed: Promise<void> | undefined;
    await expect(convert({ onProgress })).rejects.toThrow("changed while it was being converted");
    await changed;
  });

  it("says which options are wrong", async () => {
    await expect(convert({ precision: "int3" as "q4" })).rejects.toThrow(
      'Expected `precision` to be one of "fp32", "w8a8", "q4", "fp16", "q4f16", "w8a16", got `int3` (string).',
    );
    await expect(convert({ visionPrecision: "q4" as "fp32" })).rejects.toThrow(
      'Expected `visionPrecision` to be one of "fp32", "w8a8", "fp16", "bf16", got `q4` (string).',
    );
    await expect(convert({ int8Weights: "i8" as "s8" })).rejects.toThrow("`int8Weights`");
  });
});

describe("verifyPackage", () => {
  let dir: string;
  beforeEach(async () => {
    const parent = await tempDir();
    const checkpointDir = await syntheticCheckpoint(join(parent, "checkpoint"));
    dir = join(parent, "package");
    await convertCheckpoint({ checkpointDir, outputDir: dir, precision: "w8a8" });
  });

  async function failure(options = { hashes: true }): Promise<ModelLoadError> {
    const error: unknown = await verifyPackage(dir, options).then(
      () => new Error("accepted"),
      (reason: unknown) => reason,
    );
    if (!(error instanceof ModelLoadError)) throw error;
    return error;
  }

  async function changeManifest(change: (manifest: Record<string, unknown>) => void) {
    const path = join(dir, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    change(manifest);
    await writeFile(path, JSON.stringify(manifest));
  }

  it("lists all missing files at once", async () => {
    await rm(join(dir, "decoder.onnx.data"));
    await rm(join(dir, "tokenizer.json"));
    const error = await failure({ hashes: false });
    expect(error.code).toBe("model-files-missing");
    expect(error.missing).toEqual(["decoder.onnx.data", "tokenizer.json"]);
  });

  it("refuses a half package", async () => {
    await rm(join(dir, "manifest.json"));
    expect((await failure()).message).toContain("is not an ONNX package, or only a part of one");
    await truncate(join(dir, "decoder.onnx.data"), 100);
    await writeFile(join(dir, "manifest.json"), '{"kind": "napcat-vlm on');
    expect((await failure()).message).toContain("manifest.json is not valid JSON");
  });

  it("sees a wrong size without hashing, and changed bytes with it", async () => {
    await appendFile(join(dir, "embed_tokens.bin"), "x");
    expect((await failure({ hashes: false })).message).toContain(
      "embed_tokens.bin has 8001 bytes and should have 8000",
    );
    await truncate(join(dir, "embed_tokens.bin"), 8000);
    const path = join(dir, "decoder.onnx.data");
    const bytes = await readFile(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await writeFile(path, bytes);
    await verifyPackage(dir, { hashes: false });
    expect((await failure()).message).toContain(`decoder.onnx.data has changed`);
  });

  it("refuses packages of another format", async () => {
    await changeManifest((manifest) => {
      manifest.formatVersion = 2;
    });
    const error = await failure();
    expect(error.code).toBe("model-unsupported");
    expect(error.message).toContain("has format 2");
  });

  it("refuses a manifest that reaches outside or leaves a graph out", async () => {
    await changeManifest((manifest) => {
      manifest.outputs = [{ file: "../x", bytes: 1, sha256: "" }];
    });
    expect((await failure()).message).toContain("a plain file name");
    await changeManifest((manifest) => {
      manifest.outputs = [];
    });
    expect((await failure()).missing).toContain("decoder.onnx");
  });

  it("stops hashing when asked to", async () => {
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(verifyPackage(dir, { hashes: true, signal })).rejects.toThrow("stop");
    expect(basename(dir)).toBe("package");
  });
});
