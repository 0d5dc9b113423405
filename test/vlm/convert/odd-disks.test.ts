// Conversions on disks that refuse, play dead or are full. The functions of node:fs/promises are replaced for the whole
// process, as a scanner or a share would have it.

import * as promises from "node:fs/promises";
import fs, { mkdir, readdir, rm } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { disk } from "../../../src/disk.ts";
import { convertCheckpoint } from "../../../src/vlm/convert/convert.ts";
import { ensurePackage } from "../../../src/vlm/convert/ensure-package.ts";
import { verifyPackage } from "../../../src/vlm/convert/manifest.ts";
import { systemError } from "../../support/scripted-disk.ts";
import { syntheticCheckpoint } from "../../support/synthetic-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";

let parent: string;
let checkpoint: string;
const real = { ...fs };
const platform = Object.getOwnPropertyDescriptor(process, "platform") as PropertyDescriptor;

beforeEach(async () => {
  parent = await tempDir();
  checkpoint = await syntheticCheckpoint(join(parent, "checkpoint"));
  vi.stubEnv("XDG_CACHE_HOME", join(parent, "cache"));
  vi.stubEnv("LOCALAPPDATA", join(parent, "cache"));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  Object.assign(fs, real);
  syncBuiltinESMExports();
  Object.defineProperty(process, "platform", platform);
});

/** Makes one function of the file system fail while `when` says so. */
function fails(
  name: "rename" | "copyFile" | "rmdir",
  code: string,
  when: (path: string) => boolean,
) {
  const original = real[name] as (...args: unknown[]) => Promise<unknown>;
  const failing = async (...args: unknown[]) => {
    if (when(String(args[0]))) throw systemError(code);
    return original(...args);
  };
  Object.assign(fs, { [name]: failing });
  syncBuiltinESMExports();
}

function onWindows() {
  Object.defineProperty(process, "platform", { ...platform, value: "win32" });
}

/** Converts, and counts how often it began again. */
async function ensure() {
  let restarts = 0;
  let last = 0;
  const dir = await ensurePackage({
    model: checkpoint,
    onProgress: ({ doneBytes }) => {
      if (doneBytes < last) restarts++;
      last = doneBytes;
    },
  });
  return { dir, restarts };
}

const left = async (dir: string) => (await readdir(dir)).filter((name) => name.startsWith("."));

describe("a scanner on Windows", () => {
  it.each(["EPERM", "EACCES", "EBUSY"])(
    "is waited for, and costs no second conversion: %s",
    async (code) => {
      const until = performance.now() + 400;
      fails(
        "rename",
        code,
        (path) => basename(path).includes(".partial-") && performance.now() < until,
      );
      onWindows();
      const { dir, restarts } = await ensure();
      expect(performance.now()).toBeGreaterThanOrEqual(until);
      expect({ dir, restarts }).toEqual({ dir: join(checkpoint, "onnx", "w8a8"), restarts: 0 });
      await verifyPackage(dir, { hashes: true });
      expect(await left(join(checkpoint, "onnx"))).toEqual([]);
    },
  );
});

describe("a disk without renames", () => {
  it.each(["EXDEV", "EPERM", "ENOTSUP"])(
    "gets a whole package, and a newer one over it: %s",
    async (code) => {
      fails("rename", code, () => true);
      const outputDir = join(parent, "package");
      const convert = () =>
        convertCheckpoint({ checkpointDir: checkpoint, outputDir, precision: "w8a8" });
      await convert();
      await verifyPackage(outputDir, { hashes: true });
      await convert();
      await verifyPackage(outputDir, { hashes: true });
      expect(await left(parent)).toEqual([]);
    },
  );

  it("keeps nothing that loads when it is full while the files are copied", async () => {
    fails("rename", "EXDEV", () => true);
    fails("copyFile", "ENOSPC", (path) => path.endsWith("tokenizer.json"));
    Object.assign(fs, { rename: async () => Promise.reject(systemError("EXDEV")) });
    syncBuiltinESMExports();
    const outputDir = join(parent, "package");
    const converting = convertCheckpoint({ checkpointDir: checkpoint, outputDir, precision: "q4" });
    await expect(converting).rejects.toMatchObject({ code: "disk-full" });
    await expect(verifyPackage(outputDir, { hashes: false })).rejects.toThrow(
      "is not an ONNX package",
    );
    expect(await left(parent)).toEqual([]);
  });
});

describe("a full disk", () => {
  const outputDir = () => join(parent, "package");
  const convert = () =>
    convertCheckpoint({ checkpointDir: checkpoint, outputDir: outputDir(), precision: "w8a8" });

  it("is noticed before the checkpoint is read, with what is needed and what is free", async () => {
    vi.spyOn(disk, "freeBytes").mockResolvedValue(1_000_000);
    const progress = vi.fn();
    const converting = convertCheckpoint({
      checkpointDir: checkpoint,
      outputDir: outputDir(),
      precision: "w8a8",
      onProgress: progress,
    });
    await expect(converting).rejects.toMatchObject({
      name: "ModelLoadError",
      code: "disk-full",
      freeBytes: 1_000_000,
      neededBytes: expect.any(Number),
      message: expect.stringMatching(/are needed and 1\.0 MB are free/),
    });
    expect(progress).not.toHaveBeenCalled();
    expect(await readdir(parent)).toEqual(["checkpoint"]);
  });

  it.each(["ENOSPC", "EDQUOT"])("in mid-conversion leaves nothing behind: %s", async (code) => {
    const open = disk.open.bind(disk);
    vi.spyOn(disk, "open").mockImplementation(async (path, flags, options) => {
      const handle = await open(path, flags, options);
      if (flags !== "wx" || !path.endsWith("decoder.onnx.data")) return handle;
      let writes = 0;
      const write = handle.write.bind(handle) as (...args: unknown[]) => unknown;
      Object.assign(handle, {
        write: (...args: unknown[]) =>
          ++writes > 2 ? Promise.reject(systemError(code)) : write(...args),
      });
      return handle;
    });
    await expect(convert()).rejects.toMatchObject({
      name: "ModelLoadError",
      code: "disk-full",
      neededBytes: expect.any(Number),
      message: expect.stringContaining(`is full (${code})`),
    });
    expect(await readdir(parent)).toEqual(["checkpoint"]);
    vi.restoreAllMocks();
    await convert();
    await verifyPackage(outputDir(), { hashes: true });
  });
});

describe("odd paths", () => {
  it("hold packages: Chinese, spaces, characters outside the BMP, and longer than Windows likes", async () => {
    const deep = join(parent, "模型 🦊", ..."abcdefgh".split("").map((name) => name.repeat(40)));
    await mkdir(deep, { recursive: true });
    const outputDir = join(deep, "权重 w8a8");
    await convertCheckpoint({ checkpointDir: checkpoint, outputDir, precision: "w8a8" });
    await verifyPackage(outputDir, { hashes: true });
    expect(outputDir.length).toBeGreaterThan(300);
    await rm(join(parent, "模型 🦊"), { recursive: true });
  });

  it("are given to node:fs/promises as it is, so that replaced functions are heard", () => {
    expect(promises.rename).toBe(fs.rename);
  });
});
