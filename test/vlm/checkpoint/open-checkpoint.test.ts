import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/vlm/checkpoint/open-checkpoint.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

const REVISION = "89644892e4d85e24eaac8bacfd4f463576704203";

describe("openCheckpoint", () => {
  let dir: string;
  beforeEach(async () => {
    dir = join(await tempDir(), "My-Qwen3-VL");
  });

  it("opens one file", async () => {
    await syntheticCheckpoint(dir);
    const checkpoint = await openCheckpoint(dir);
    expect(checkpoint.source).toEqual({ name: "My-Qwen3-VL" });
    expect(checkpoint.weightFiles).toEqual(["model.safetensors"]);
    expect(checkpoint.settingsFiles).toEqual([
      "config.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "preprocessor_config.json",
    ]);
    expect(checkpoint.generation.eosTokenIds).toEqual([99]);
    await checkpoint.close();
  });

  it("opens shards by their index", async () => {
    await syntheticCheckpoint(dir, { maxShardBytes: 60_000 });
    const checkpoint = await openCheckpoint(dir);
    expect(checkpoint.weightFiles[0]).toBe("model.safetensors.index.json");
    expect(checkpoint.weightFiles.length).toBeGreaterThan(3);
    await checkpoint.close();
  });

  it("lists all missing files at once", async () => {
    await mkdir(dir);
    await expect(openCheckpoint(dir)).rejects.toMatchObject({
      code: "model-files-missing",
      missing: [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
        "model.safetensors (or model.safetensors.index.json)",
      ],
    });
    await expect(openCheckpoint(join(dir, "nowhere"))).rejects.toThrow("cannot be read");
  });

  it("lists all missing shards at once", async () => {
    await syntheticCheckpoint(dir, { maxShardBytes: 60_000 });
    const index = await readFile(join(dir, "model.safetensors.index.json"), "utf8");
    const shards = [...new Set(index.match(/model-\d+-of-\d+\.safetensors/g))].sort();
    for (const shard of shards.slice(1)) await rm(join(dir, shard));
    await expect(openCheckpoint(dir)).rejects.toMatchObject({ missing: shards.slice(1) });
  });

  it("refuses an index that disagrees with its shards", async () => {
    await syntheticCheckpoint(dir, { maxShardBytes: 60_000 });
    const path = join(dir, "model.safetensors.index.json");
    const index = JSON.parse(await readFile(path, "utf8")) as {
      weight_map: Record<string, string>;
    };
    const [first = "", last = ""] = [
      Object.keys(index.weight_map)[0],
      Object.keys(index.weight_map).at(-1),
    ];
    index.weight_map[first] = index.weight_map[last] ?? "";
    await writeFile(path, JSON.stringify(index));
    await expect(openCheckpoint(dir)).rejects.toThrow(`says that ${first} is in`);
  });

  it("refuses JSON that is none, and takes a byte order mark", async () => {
    await syntheticCheckpoint(dir);
    const config = await readFile(join(dir, "config.json"), "utf8");
    await writeFile(join(dir, "config.json"), `\uFEFF${config}`);
    await (await openCheckpoint(dir)).close();
    await writeFile(join(dir, "config.json"), "{ nope");
    await expect(openCheckpoint(dir)).rejects.toThrow("config.json is not valid JSON.");
  });

  it("refuses an image processor that cuts other patches", async () => {
    await syntheticCheckpoint(dir);
    await writeFile(join(dir, "preprocessor_config.json"), '{"patch_size": 14}');
    await expect(openCheckpoint(dir)).rejects.toThrow(
      "Expected patch_size of the image processor to be 16 as in config.json, got 14.",
    );
  });

  it("knows name and commit from the hub's cache", async () => {
    await syntheticCheckpoint(dir);
    const snapshots = join(await tempDir(), "models--Qwen--Qwen3-VL-2B-Instruct", "snapshots");
    await mkdir(snapshots, { recursive: true });
    await rename(dir, join(snapshots, REVISION));
    const checkpoint = await openCheckpoint(join(snapshots, REVISION));
    expect(checkpoint.source).toEqual({ name: "Qwen/Qwen3-VL-2B-Instruct", revision: REVISION });
    await checkpoint.close();
  });

  it("knows the commit of a download into a directory", async () => {
    await syntheticCheckpoint(dir);
    const trace = join(dir, ".cache", "huggingface", "download");
    await mkdir(trace, { recursive: true });
    await writeFile(join(trace, "config.json.metadata"), `${REVISION}\nabc\n1.0\n`);
    const checkpoint = await openCheckpoint(dir);
    expect(checkpoint.source).toEqual({ name: "My-Qwen3-VL", revision: REVISION });
    await checkpoint.close();
  });
});
