import { cp, mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { disk } from "../../../src/disk.ts";
import { DiskError } from "../../../src/disk-error.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { ensurePackage } from "../../../src/vlm/convert/ensure-package.ts";
import { readManifest } from "../../../src/vlm/convert/manifest.ts";
import { adapterDirectory, formatFixture } from "../../support/format-fixture.ts";
import { goldenCheckpoint } from "../../support/golden-checkpoint.ts";
import { systemError } from "../../support/scripted-disk.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

vi.mock("../../../src/vlm/convert/convert.ts", { spy: true });
const conversions = vi.mocked(convertCheckpoint);

let parent: string;
let checkpoint: string;

beforeEach(async () => {
  parent = await tempDir();
  checkpoint = await syntheticCheckpoint(join(parent, "checkpoint"));
  vi.stubEnv("XDG_CACHE_HOME", join(parent, "cache"));
  conversions.mockClear();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe("ensurePackage", () => {
  it("converts beside the checkpoint, once for each precision", async () => {
    const first = await ensurePackage({ model: checkpoint });
    expect(first).toBe(join(checkpoint, "onnx", "w8a8"));
    expect(await ensurePackage({ model: checkpoint })).toBe(first);
    const q4 = await ensurePackage({ model: checkpoint, precision: "q4", visionPrecision: "fp32" });
    expect(q4).toBe(join(checkpoint, "onnx", "q4-vision-fp32"));
    expect(conversions).toHaveBeenCalledTimes(2);
  });

  it("takes a package for what it is, without its checkpoint", async () => {
    const made = await ensurePackage({ model: checkpoint });
    const copy = join(parent, "copy");
    await cp(made, copy, { recursive: true });
    expect(await ensurePackage({ model: copy })).toBe(copy);
    await expect(ensurePackage({ model: copy, precision: "fp32" })).rejects.toThrow(
      /precision w8a8, not fp32/,
    );
  });

  it("makes one package for each set of adapters as they are now, and none from a package", async () => {
    const fixture = await formatFixture("lora");
    const model = await goldenCheckpoint(fixture.base, parent);
    const first = await adapterDirectory(parent, fixture, "first");
    const second = await adapterDirectory(parent, fixture, "second one");
    const ensure = (...adapters: string[]) => ensurePackage({ model, adapters });
    const made = await ensure(first);
    expect(made.slice(join(model, "onnx").length + 1)).toMatch(/^w8a8-first-[0-9a-f]{8}$/);
    expect((await readManifest(made)).adapters.map(({ name }) => name)).toEqual(["first"]);
    expect(await ensure(first)).toBe(made);
    const plain = await ensure();
    expect(plain).toBe(join(model, "onnx", "w8a8"));
    const both = await ensure(first, second);
    expect(both).toMatch(/w8a8-first-second_one-[0-9a-f]{8}$/);
    expect(await ensure(second, first)).not.toBe(both);
    expect(conversions).toHaveBeenCalledTimes(4);
    // Trained again.
    await adapterDirectory(
      parent,
      { ...fixture, settings: { ...fixture.settings, lora_alpha: 3 } },
      "first",
    );
    expect(await ensure(first)).not.toBe(made);
    expect(conversions).toHaveBeenCalledTimes(5);
    // Merged already, or never.
    expect(await ensurePackage({ model: both, adapters: [] })).toBe(both);
    await expect(ensurePackage({ model: plain, adapters: [first] })).rejects.toThrow(
      /is an ONNX package, and LoRA adapters are merged while a package is made/,
    );
    // In one place, each goes in the other's place.
    const packageDir = join(parent, "package");
    for (const adapters of [[first], [], [first]]) {
      await ensurePackage({ model, adapters, packageDir });
      expect((await readManifest(packageDir)).adapters).toHaveLength(adapters.length);
    }
    await expect(ensure(join(parent, "nowhere"))).rejects.toThrow("lacks adapter_config.json");
  });

  it("makes a damaged package again, and one in another CPU's form", async () => {
    const packageDir = join(parent, "package");
    const ensure = (int8Weights: "s8" | "u8") =>
      ensurePackage({ model: checkpoint, packageDir, int8Weights });
    await ensure("s8");
    await truncate(join(packageDir, "decoder.onnx.data"), 100);
    await ensure("s8");
    expect(conversions).toHaveBeenCalledTimes(2);
    await ensure("u8");
    await ensure("u8");
    expect(conversions).toHaveBeenCalledTimes(3);
    expect((await readManifest(packageDir)).int8Weights).toBe("u8");
    const fp32 = { model: checkpoint, precision: "fp32" as const };
    await ensurePackage({ ...fp32, int8Weights: "s8" });
    await ensurePackage({ ...fp32, int8Weights: "u8" });
    expect(conversions).toHaveBeenCalledTimes(4);
  });

  it("goes to the user's cache when the checkpoint cannot be written to", async () => {
    const refuse = () =>
      Promise.reject(Object.assign(new Error("read-only file system"), { code: "EROFS" }));
    conversions.mockImplementationOnce(refuse);
    const cached = await ensurePackage({ model: checkpoint });
    const cache = process.platform === "linux" ? join(parent, "cache", "napcat-vlm") : "napcat-vlm";
    expect(cached).toContain(cache);
    expect(await ensurePackage({ model: checkpoint })).toBe(cached);
    expect(conversions).toHaveBeenCalledTimes(2);

    conversions.mockImplementationOnce(refuse);
    const packageDir = join(parent, "chosen");
    await expect(ensurePackage({ model: checkpoint, packageDir })).rejects.toThrow(
      /can be written to none of .*chosen\. Set packageDir/,
    );
  });

  it.each(["EROFS", "EACCES", "EPERM"])(
    "asks whether a place can be written before it converts: %s",
    async (code) => {
      const making = vi.spyOn(disk, "makeDirectory").mockImplementation(async (path) => {
        if (!path.startsWith(checkpoint)) await mkdir(path, { recursive: true });
        else throw new DiskError("refused", path, { cause: systemError(code) });
      });
      const cached = await ensurePackage({ model: checkpoint });
      expect(cached).not.toContain(checkpoint);
      expect(conversions).toHaveBeenCalledTimes(1);

      making.mockImplementation((path) => Promise.reject(new DiskError("refused", path)));
      const refused = ensurePackage({ model: checkpoint, packageDir: join(parent, "chosen") });
      await expect(refused).rejects.toMatchObject({ name: "ModelLoadError", code: "not-writable" });
      await expect(refused).rejects.toThrow(/can be written to none of .*chosen\. Set packageDir/);
      expect(conversions).toHaveBeenCalledTimes(1);
      making.mockRestore();
    },
  );

  it.each(["EACCES", "EPERM", "EBUSY", "ENOSPC"])(
    "never converts a second time when one failed: %s",
    async (code) => {
      conversions.mockImplementationOnce(() => Promise.reject(systemError(code)));
      await expect(ensurePackage({ model: checkpoint })).rejects.toMatchObject({ code });
      expect(conversions).toHaveBeenCalledTimes(1);
    },
  );

  it("does not make a package again that another program holds", async () => {
    await ensurePackage({ model: checkpoint });
    const reading = vi.spyOn(disk, "readText").mockImplementation(async (path) => {
      if (path.endsWith("manifest.json")) throw new DiskError("held", path);
      return await readFile(path, "utf8");
    });
    await expect(ensurePackage({ model: checkpoint })).rejects.toMatchObject({
      name: "ModelLoadError",
      code: "files-held",
      message: expect.stringMatching(/Another program holds .*manifest\.json/),
    });
    reading.mockRestore();
    expect(conversions).toHaveBeenCalledTimes(1);
  });

  it("hands on what is wrong with a checkpoint, and says what is no model at all", async () => {
    await truncate(join(checkpoint, "config.json"), 10);
    await expect(ensurePackage({ model: checkpoint })).rejects.toMatchObject({
      name: "ModelLoadError",
    });
    await expect(ensurePackage({ model: join(parent, "nowhere") })).rejects.toMatchObject({
      code: "model-files-missing",
    });
    expect(await readFile(join(checkpoint, "config.json"), "utf8")).toHaveLength(10);
  });

  it("leaves nothing in a directory that holds no model, and does not take its own folder for graphs", async () => {
    const other = join(parent, "photos");
    await mkdir(other);
    const refused = { code: "model-files-missing", message: expect.not.stringContaining("ONNX") };
    await expect(ensurePackage({ model: other })).rejects.toMatchObject(refused);
    expect(await readdir(other)).toEqual([]);
    await mkdir(join(other, "onnx", "w8a8"), { recursive: true });
    await expect(ensurePackage({ model: other })).rejects.toMatchObject(refused);
    expect(await readdir(join(other, "onnx"))).toEqual(["w8a8"]);
    await writeFile(join(other, "onnx", "decoder_model_merged_q4.onnx"), "");
    await expect(ensurePackage({ model: other })).rejects.toThrow("that another program made");
    const packageDir = join(parent, "new", "newer", "package");
    await expect(ensurePackage({ model: other, packageDir })).rejects.toThrow("lacks");
    expect(await readdir(parent)).not.toContain("new");
  });
});
