// Kernels of our own without a card: the compiler, its cache, and recordings, on a machine that is played.

import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { CudaKernels, cardLimits } from "../../../src/vlm/runtime/cuda-kernels.ts";
import { compilerNames, findCompiler } from "../../../src/vlm/runtime/cuda-libraries.ts";
import { COMPILER_LOG, FakeCuda } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

const SOURCE = { text: "// a kernel", constants: { ROWS: 1 } };

/** A card whose machine has the compiler beside ONNX Runtime, and a cache of its own. */
async function machine(installed = true) {
  const directory = await tempDir();
  const cache = await tempDir();
  vi.stubEnv("XDG_CACHE_HOME", cache);
  vi.stubEnv("LOCALAPPDATA", cache);
  vi.stubEnv("HOME", cache);
  if (installed) {
    const [builtins, compiler] = compilerNames(13);
    const ending = builtins.endsWith(".") ? "0" : "0.dll";
    for (const name of [`${builtins}${ending}`, compiler])
      await writeFile(join(directory, name), "");
  }
  const fake = new FakeCuda(directory);
  const card = await new CudaCards(fake.start).open(0);
  return { fake, card, cache };
}

beforeEach(() => vi.unstubAllEnvs());
afterEach(() => vi.unstubAllEnvs());

describe("the compiler", () => {
  it("is asked once, and its code kept for every start after", async () => {
    const { fake, card } = await machine();
    const made = await card.compile(SOURCE);
    expect([...made.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    expect(await card.compile(SOURCE)).toEqual(made);
    expect(fake.called.filter((name) => name === "nvrtcCompileProgram")).toHaveLength(1);
    expect(fake.called.at(-1)).toBe("nvrtcDestroyProgram");
  });

  it("is asked again for other constants, and where the kept code is damaged", async () => {
    const { fake, card, cache } = await machine();
    await card.compile(SOURCE);
    await card.compile({ ...SOURCE, constants: { ROWS: 4 } });
    const compiled = () => fake.called.filter((name) => name === "nvrtcCompileProgram").length;
    expect(compiled()).toBe(2);
    const kept = (await readdir(cache, { recursive: true })).filter((name) =>
      name.endsWith(".cubin"),
    );
    expect(kept).toHaveLength(2);
    for (const name of kept) await writeFile(join(cache, name), "no machine code");
    await card.compile(SOURCE);
    expect(compiled()).toBe(3);
  });

  it("says what it did not understand", async () => {
    const { fake, card } = await machine();
    fake.failures.set("nvrtcCompileProgram", 6);
    await expect(card.compile(SOURCE)).rejects.toMatchObject({
      name: "CompilerError",
      message: `A kernel does not compile: ${COMPILER_LOG}`,
    });
  });

  it("that is older than the card is to be replaced by a newer one", async () => {
    const { fake, card } = await machine();
    fake.failures.set("nvrtcCompileProgram", 5);
    await expect(card.compile(SOURCE)).rejects.toMatchObject({
      name: "CompilerError",
      message: expect.stringMatching(
        /is older than this card \(--gpu-architecture=sm_90: .*newer one/,
      ),
    });
  });

  it("is found with what it needs itself, or not at all", async () => {
    const { card } = await machine(false);
    const found = findCompiler(13, { beside: card.facts.provider });
    if (found === undefined) {
      await expect(card.compile(SOURCE)).rejects.toThrow(/NVRTC 13\) is not installed.*setup-cuda/);
    } else {
      // This machine has a toolkit.
      expect(found).toHaveLength(2);
    }
  });
});

describe("kernels", () => {
  it("are recorded in one go, with the limits of the card", async () => {
    const { fake, card } = await machine();
    expect(await cardLimits(card)).toEqual({ multiprocessors: 132, sharedBytes: 232_448 });
    const kernels = await CudaKernels.load(card, SOURCE);
    const launches = ["project", "mix", "project"].map((kernel) => ({
      ...{ kernel, grid: [128] as const, threads: 512, sharedBytes: 8448, args: [7] },
    }));
    fake.called.length = 0;
    const recording = await kernels.record(launches);
    expect(fake.called).toEqual([
      ...["cuModuleGetFunction", "cuFuncSetAttribute", "cuModuleGetFunction", "cuFuncSetAttribute"],
      ...["cuStreamBeginCapture_v2", "cuLaunchKernelEx", "cuLaunchKernelEx", "cuLaunchKernelEx"],
      ...["cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphDestroy"],
    ]);
    await card.call([recording.replay(), card.synchronize()]);
    await recording.dispose();
    await kernels.dispose();
    expect(fake.called.slice(-4)).toEqual([
      ...["cuGraphLaunch", "cudaStreamSynchronize", "cuGraphExecDestroy", "cuModuleUnload"],
    ]);
  });

  it("are recorded without anybody else's calls in between: those would be recorded too", async () => {
    const { fake, card } = await machine();
    const kernels = await CudaKernels.load(card, SOURCE);
    fake.called.length = 0;
    const launches = [{ kernel: "mix", grid: [8, 16, 1] as const, threads: 256, args: [] }];
    const others = Array.from({ length: 20 }, async (_, turns) => {
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      await card.allocate(1024, "another model");
    });
    await Promise.all([kernels.record(launches), ...others]);
    const begin = fake.called.indexOf("cuStreamBeginCapture_v2");
    expect(fake.called.slice(begin, begin + 3)).toEqual([
      ...["cuStreamBeginCapture_v2", "cuLaunchKernelEx", "cuStreamEndCapture"],
    ]);
    expect(fake.called.filter((name) => name === "cudaMalloc")).toHaveLength(20);
  });

  it("that the card refuses end the recording and leave the card as it was", async () => {
    const { fake, card } = await machine();
    const kernels = await CudaKernels.load(card, SOURCE);
    fake.failures.set("cuLaunchKernelEx", 701);
    const launches = [{ kernel: "mix", grid: [8, 16, 1] as const, threads: 256, args: [] }];
    await expect(kernels.record(launches)).rejects.toMatchObject({
      name: "KernelError",
      message: "The driver's recording of kernels failed with error 701.",
    });
    expect(fake.called.at(-1)).toBe("cuStreamEndCapture");
    expect(card.loss.aborted).toBe(false);
  });
});
