import { mkdir, readdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { inspectProvider } from "../../../src/vlm/runtime/cuda-provider.ts";
import {
  copyLibraries,
  corePath,
  findCore,
  SUPPORTED_VERSIONS,
} from "../../../src/vlm/runtime/ort-library.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("findCore", () => {
  it("takes the library of onnxruntime-node when no directory is named", () => {
    expect(findCore("")).toBe(corePath());
  });

  it("takes the library of the directory", async () => {
    const directory = await tempDir();
    const core = join(directory, basename(corePath()));
    await symlink(corePath(), core);
    expect(findCore(directory)).toBe(core);
  });

  it.skipIf(process.platform === "win32")(
    "makes the core of onnxruntime-node appear beside providers, once",
    async () => {
      const directory = await tempDir();
      const core = join(directory, basename(corePath()));
      expect(findCore(directory)).toBe(core);
      expect(await readlink(core)).toBe(corePath());
      expect(findCore(directory)).toBe(core);
    },
  );

  it("says which directory is not there", () => {
    expect(() => findCore("/no/such/place")).toThrow(/NAPCAT_VLM_ORT.*\/no\/such\/place/);
  });
});

describe("copyLibraries", () => {
  it("brings the libraries beside the core along, and leaves what is there", async () => {
    const [from, to] = [await tempDir(), await tempDir()];
    for (const name of ["onnxruntime.dll", "dxil.dll", "dxcompiler.dll", "binding.node"]) {
      await writeFile(join(from, name), name);
    }
    await writeFile(join(to, "dxil.dll"), "another");
    copyLibraries(from, to);
    expect((await readdir(to)).toSorted()).toEqual([
      "dxcompiler.dll",
      "dxil.dll",
      "onnxruntime.dll",
    ]);
    expect(await readFile(join(to, "dxil.dll"), "utf8")).toBe("another");
    expect(await readFile(join(to, "onnxruntime.dll"), "utf8")).toBe("onnxruntime.dll");
  });
});

describe("inspectProvider", () => {
  async function provider(content: string | Buffer): Promise<string> {
    const directory = await tempDir();
    await mkdir(directory, { recursive: true });
    const file = join(directory, "provider.so");
    await writeFile(file, content);
    return file;
  }

  it("reads version and CUDA version", async () => {
    const file = await provider("\x7fELF\0libcudart.so.13\0...\0" + "1.30.0\0");
    expect(await inspectProvider(file, SUPPORTED_VERSIONS)).toEqual({
      version: "1.30.0",
      cuda: 13,
    });
  });

  it("knows Windows' names, and CUDA 12", async () => {
    const file = await provider("MZ\0cudart64_12.dll\0\0" + "1.29.0\0");
    expect(await inspectProvider(file, SUPPORTED_VERSIONS)).toEqual({
      version: "1.29.0",
      cuda: 12,
    });
  });

  it("is not taken in by a longer version, nor by an unknown one", async () => {
    const file = await provider("\0libcudart.so.13\0 1.30.0 \0" + "11.30.0\0\0" + "1.28.0\0");
    expect(await inspectProvider(file, SUPPORTED_VERSIONS)).toEqual({
      version: undefined,
      cuda: 13,
    });
  });

  it("finds what lies across the pieces it reads", async () => {
    const content = Buffer.alloc(2 ** 23 + 1000);
    content.write("\0libcudart.so.13\0", 2 ** 23 - 5);
    content.write("\0" + "1.30.0\0", 2 ** 23 + 100);
    expect(await inspectProvider(await provider(content), SUPPORTED_VERSIONS)).toEqual({
      version: "1.30.0",
      cuda: 13,
    });
  });
});
