// CUDA without a card: the ladder, the budget, what fails and what comes back, on a machine that is played.

import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { CardWeights } from "../../../src/vlm/runtime/card-weights.ts";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { CUDA_PROVIDER_FILE } from "../../../src/vlm/runtime/cuda-provider.ts";
import { cudaAnswer } from "../../support/cuda-answers.ts";
import { FakeCuda, ORT_ILLEGAL_ACCESS, ORT_OUT_OF_MEMORY } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

const MIB = 2 ** 20;

async function machine(provider?: string, cuda?: number) {
  const fake = new FakeCuda(await tempDir(), provider, cuda);
  return { fake, cards: new CudaCards(fake.start) };
}

const refusal = (cards: CudaCards, index = 0) =>
  cards.open(index).then(
    () => "it opened",
    (error: unknown) => error,
  );

describe("the ladder to a card", () => {
  it("tells each rung, and what it found", async () => {
    const { fake, cards } = await machine();
    const rungs: [string, string][] = [];
    const card = await cards.open(0, (rung, found) => rungs.push([rung, found]));
    expect(rungs.map(([rung]) => rung)).toEqual([
      "driver",
      "version",
      "card",
      "capability",
      "provider",
      "libraries",
    ]);
    expect(rungs[1]).toEqual(["version", "CUDA 13.0"]);
    expect(card.facts).toMatchObject({
      name: "NVIDIA H100 80GB HBM3",
      driver: 13,
      capability: 9,
      provider: join(fake.directory, CUDA_PROVIDER_FILE),
    });
    // Asked again, it is the same card and the same thread.
    expect(await cards.open(0)).toBe(card);
    expect(fake.threads).toEqual(["cuda:0"]);
  });

  it.each<[string, (fake: FakeCuda) => void, RegExp]>([
    [
      "driver",
      (fake) => fake.missing.add(process.platform === "win32" ? "nvcuda.dll" : "libcuda.so.1"),
      /\(driver\): there is no NVIDIA driver: .* Install the driver/,
    ],
    ["card", (fake) => fake.failures.set("cuInit", 100), /finds no card\. Check `nvidia-smi`/],
    ["restart", (fake) => fake.failures.set("cuInit", 803), /Restart the machine/],
    ["container", (fake) => fake.failures.set("cuInit", 999), /does not answer \(error 999\)/],
    [
      "newer driver",
      (fake) => {
        fake.driverVersion = 12_080;
      },
      /\(version\): the driver can do CUDA 12\.8, and the provider needs 13\. .*580 or later/,
    ],
    [
      "newer card",
      (fake) => {
        fake.cards = [{ name: "Tesla V100", capability: [7, 0], memoryMiB: 16_384 }];
      },
      /\(capability\): Tesla V100 has compute capability 7\.0/,
    ],
    [
      "libraries",
      (fake) =>
        fake.missing.add(process.platform === "win32" ? "cublas64_13.dll" : "libcublas.so.13"),
      /\(libraries\): CUDA's \S*cublas\S* cannot be loaded\. Install the CUDA 13 toolkit, .*pip install/,
    ],
  ])("says what to do where it needs another %s", async (_, prepare, message) => {
    const { fake, cards } = await machine();
    prepare(fake);
    expect(await refusal(cards)).toMatchObject({
      name: "ModelLoadError",
      code: "device-unavailable",
      message: expect.stringMatching(message),
    });
    // Nothing stays, and nothing was asked of the runtime of CUDA.
    expect(fake.endedThreads).toEqual(["cuda:0"]);
    expect(fake.called.filter((name) => name.startsWith("cuda"))).toEqual([]);
  });

  it("refuses a provider of another version than the core, before anything of it is loaded", async () => {
    const { fake, cards } = await machine("1.29.0");
    expect(await refusal(cards)).toMatchObject({
      message: expect.stringMatching(
        /\(provider\): .* is of 1\.29\.0, and the core is ONNX Runtime 1\.30\.0/,
      ),
    });
    expect(fake.called).not.toContain("cudaSetDevice");
  });

  it("says what to do with the directory that NAPCAT_VLM_ORT names", async () => {
    const { fake, cards } = await machine("1.29.0");
    vi.stubEnv("NAPCAT_VLM_ORT", fake.directory);
    expect(await refusal(cards).finally(() => vi.unstubAllEnvs())).toMatchObject({
      message: expect.stringMatching(
        /NAPCAT_VLM_ORT names that directory: put the provider of 1\.30\.0 there, or leave the variable out and run/,
      ),
    });
  });

  it("says what installs a provider where there is none, and works as soon as there is one", async () => {
    const { fake, cards } = await machine();
    await rm(join(fake.directory, CUDA_PROVIDER_FILE));
    expect(await refusal(cards)).toMatchObject({
      message: expect.stringMatching(/\(provider\): .*setup-cuda/),
    });
    const mended = new FakeCuda(fake.directory);
    expect(mended.directory).toBe(fake.directory);
    expect((await cards.open(0)).facts.name).toBe("NVIDIA H100 80GB HBM3");
  });

  it("takes CUDA 12 where the provider was built for it", async () => {
    const { fake, cards } = await machine("1.30.0", 12);
    fake.driverVersion = 12_080;
    const { facts } = await cards.open(0);
    expect(facts.runtime).toMatch(/cudart(?:\.so\.|64_)12/);
  });
});

describe("several cards", () => {
  it("are opened by index, each with a thread of its own, and one that is lost leaves the other", async () => {
    const { fake, cards } = await machine();
    fake.cards = [...fake.cards, { name: "RTX 4090", capability: [8, 9], memoryMiB: 24_564 }];
    const [one, two] = [await cards.open(0), await cards.open(1)];
    expect([one.facts.name, two.facts.name]).toEqual(["NVIDIA H100 80GB HBM3", "RTX 4090"]);
    expect(fake.threads).toEqual(["cuda:0", "cuda:1"]);
    await expect(one.call([fake.ortCall(ORT_ILLEGAL_ACCESS)])).rejects.toMatchObject({
      code: "device-lost",
    });
    expect([one.loss.aborted, two.loss.aborted]).toEqual([true, false]);
    await two.call([fake.ortCall()]);
    vi.stubEnv("CUDA_VISIBLE_DEVICES", undefined);
    expect(await refusal(cards, 2)).toMatchObject({
      message: expect.stringMatching(
        /\(card\): this machine shows 2 CUDA cards, cuda:0 to cuda:1\. /,
      ),
    });
    vi.stubEnv("CUDA_VISIBLE_DEVICES", "3,1");
    expect(await refusal(cards, 7).finally(() => vi.unstubAllEnvs())).toMatchObject({
      message: expect.stringMatching(
        /cuda:0 to cuda:1, since CUDA_VISIBLE_DEVICES is set: it hides/,
      ),
    });
  });
});

describe("recording on one of several cards", () => {
  async function twoCards() {
    const { fake, cards } = await machine();
    fake.cards = [...fake.cards, { name: "RTX 4090", capability: [8, 9], memoryMiB: 24_564 }];
    const [one, two] = [await cards.open(0), await cards.open(1)];
    fake.called.length = 0;
    return { fake, one, two };
  }

  it("waits for what the other does, and keeps it waiting", async () => {
    const { fake, one, two } = await twoCards();
    let release = () => {};
    fake.holds.set(
      "cudaMemsetAsync",
      new Promise<void>((resolve) => {
        release = resolve;
      }),
    );
    const order: string[] = [];
    const busy = two.call([two.copies.fill(1n, 0, 4)]).then(() => order.push("busy"));
    const recorded = one.call([fake.ortCall()], { records: true }).then(() => order.push("record"));
    // CUDA would fail this one while ONNX Runtime records, and spoil the recording.
    const later = two.allocate(MIB, "pictures").then(() => order.push("allocate"));
    await Promise.resolve();
    expect([fake.called, order]).toEqual([[], []]);
    release();
    await Promise.all([busy, recorded, later]);
    expect(order).toEqual(["busy", "record", "allocate"]);
    expect(fake.called).toEqual(["cudaMemsetAsync", "Run", "cudaMalloc"]);
  });

  it("never takes place twice at once, and ends with what fails", async () => {
    const { fake, one, two } = await twoCards();
    const results = await Promise.allSettled([
      one.call([fake.ortCall(ORT_OUT_OF_MEMORY)], { records: true }),
      two.call([fake.ortCall()], { records: true }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    await two.allocate(MIB, "pictures");
  });
});

describe("the memory of a card", () => {
  it("is nine tenths of what is free when nobody says how much", async () => {
    const { cards } = await machine();
    const card = await cards.open(0);
    expect((await card.openBudget()).remaining).toBe(Math.floor(81_559 * MIB * 0.9));
    expect((await cards.open(0)).budget.remaining).toBe(Number.POSITIVE_INFINITY);
  });

  it("bounds each model by itself, and what one may still take is not free for the next", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    const one = await card.openBudget(10_000 * MIB);
    const block = await card.allocate(4000 * MIB, "weights", one);
    card.budgets.settle(one);
    const two = await card.openBudget();
    // 4000 MiB are taken, and 6000 more may be.
    expect(two.limit).toBe(Math.floor((81_559 - 10_000) * MIB * 0.9));
    await card.allocate(2000 * MIB, "weights", two);
    card.budgets.settle(two, 1000 * MIB);
    expect([one.remaining, two.remaining]).toEqual([6000 * MIB, 1000 * MIB]);
    await expect(card.allocate(1001 * MIB, "pictures", two)).rejects.toMatchObject({
      code: "device-memory",
      message: expect.stringMatching(/1001 MiB are needed and 1000 MiB are left/),
    });
    await card.allocate(6000 * MIB, "pictures", one);
    expect(fake.usedBytes).toBe(12_000 * MIB);
    // What is freed, and whose model is gone, is there for the next.
    await card.free(block);
    card.budgets.close(one);
    expect(card.budgets.promised).toBe(1000 * MIB);
    const three = await card.openBudget();
    expect(three.limit).toBe(Math.floor((81_559 - 8000 - 1000) * MIB * 0.9));
  });

  it("is shared out in turn where models are loaded at the same time", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    const order: string[] = [];
    const one = await card.openBudget();
    const coming = [card.openBudget(), card.openBudget(2 ** 20)].map((opening, index) =>
      opening.then((budget) => {
        order.push(`model ${index}`);
        return budget;
      }),
    );
    await card.allocate(40_000 * MIB, "weights", one);
    order.push("weights");
    card.budgets.settle(one, 5000 * MIB);
    const two = await coming[0]!;
    expect(two.limit).toBe(Math.floor((81_559 - 45_000) * MIB * 0.9));
    card.budgets.close(two); // It could not be loaded.
    expect((await coming[1]!).limit).toBe(2 ** 20);
    expect(order).toEqual(["weights", "model 0", "model 1"]);
    expect(fake.usedBytes).toBe(40_000 * MIB);
  });

  it("goes to the next model where the card did not answer the one before", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    fake.failNth("cudaMemGetInfo", 1, 2);
    await expect(card.openBudget()).rejects.toMatchObject({ code: "device-memory" });
    expect((await card.openBudget()).limit).toBeGreaterThan(0);
  });

  it("is bounded: what does not fit is refused before the card is asked, and takes nothing", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    card.budget.limit = 100 * MIB;
    const block = await card.allocate(60 * MIB, "keys and values");
    await expect(card.allocate(60 * MIB, "pictures")).rejects.toMatchObject({
      name: "DeviceError",
      code: "device-memory",
      message: expect.stringMatching(
        /no room for pictures: 60 MiB are needed and 40 MiB are left .*deviceMemoryBytes/,
      ),
    });
    expect(() => card.budget.reserve(41 * MIB, "weights")).toThrow(/no room for weights/);
    expect([card.budget.used, fake.usedBytes]).toEqual([60 * MIB, 60 * MIB]);
    await card.free(block);
    expect([card.budget.used, card.budget.remaining, fake.usedBytes]).toEqual([0, 100 * MIB, 0]);
  });

  it("may be taken by others: the card says no, what was counted is taken back, and it works on", async () => {
    const { fake, cards } = await machine();
    fake.cards = [{ name: "small", capability: [8, 6], memoryMiB: 8192 }];
    const card = await cards.open(0);
    card.budget.limit = 16_384 * MIB;
    await expect(card.allocate(9000 * MIB, "weights")).rejects.toMatchObject({
      code: "device-memory",
    });
    // CUDA must not tell the next kernel of it.
    expect(fake.called.slice(-2)).toEqual(["cudaGetLastError", "cudaStreamSynchronize"]);
    expect(card.budget.used).toBe(0);
    expect(card.loss.aborted).toBe(false);
    await card.allocate(1000 * MIB, "weights");
    fake.failures.set("cudaMallocHost", 2);
    await expect(card.pin(4096)).rejects.toMatchObject({ code: "device-memory" });
    expect(card.loss.aborted).toBe(false);
  });

  it("may run out in a run: an error of that run alone", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    await expect(card.call([fake.ortCall(ORT_OUT_OF_MEMORY)])).rejects.toMatchObject({
      name: "DeviceError",
      code: "device-memory",
    });
    expect(card.loss.aborted).toBe(false);
    await card.call([fake.ortCall()]);
  });

  it("is waited for when a run fails or is stopped: what it was given may still be read", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    fake.called.length = 0;
    const upload = card.copies.toDevice(1n, 2n, 4);
    const stopped = fake.ortCall(cudaAnswer("a run that is told to stop"));
    const download = card.copies.fromDevice(2n, 1n, 4);
    await expect(card.call([upload, stopped, download])).rejects.toMatchObject({
      name: "OrtError",
    });
    expect(fake.called).toEqual(["cudaMemcpyAsync", "Run", "cudaStreamSynchronize"]);
  });

  it("is waited for also when a call of CUDA itself finds no memory, and a loss may show then", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    fake.failures.set("cudaMemcpy2DAsync", 2);
    const rows = card.copies.rows({ address: 1n, pitch: 8 }, { address: 2n, pitch: 8 }, 4, 2);
    fake.called.length = 0;
    const calls = [card.copies.toDevice(1n, 2n, 4), rows];
    await expect(card.call(calls)).rejects.toMatchObject({ code: "device-memory" });
    expect(fake.called.at(-1)).toBe("cudaStreamSynchronize");
    fake.failures.set("cudaStreamSynchronize", 719);
    await expect(card.call([rows])).rejects.toMatchObject({
      code: "device-lost",
      message: "The device cuda:0 (NVIDIA H100 80GB HBM3) was lost: CUDA error 719.",
    });
  });

  it("is named by what was to be computed when a run or a graph finds none", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    const loading = fake.ortCall(cudaAnswer("cublasCreate answers 3 while a graph is loaded"));
    await expect(card.call([loading], { what: "loading decoder.onnx" })).rejects.toMatchObject({
      code: "device-memory",
      message: expect.stringContaining("no memory for loading decoder.onnx."),
      cause: { name: "OrtError" },
    });
  });

  it("is given back where weights cannot be copied to it", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    const file = join(await tempDir(), "weights");
    await writeFile(file, new Uint8Array(4096));
    const load = () => CardWeights.load(card, file, []);
    for (const name of ["cudaMallocHost", "cudaMemcpyAsync"]) {
      fake.failures.set(name, 2);
      await expect(load()).rejects.toMatchObject({ code: "device-memory" });
      fake.failures.clear();
      expect([card.budget.used, fake.usedBytes]).toEqual([0, 0]);
    }
    const weights = await load();
    expect(fake.usedBytes).toBe(4096);
    await weights.dispose();
    expect([card.budget.used, fake.usedBytes]).toEqual([0, 0]);
  });
});

describe("a card that fails", () => {
  it("is lost for everybody at once, with the reason, and is asked nothing more", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    const told: unknown[] = [];
    card.loss.addEventListener("abort", () => told.push(card.loss.reason));
    fake.sticky = 719;
    await expect(card.call([card.synchronize()])).rejects.toMatchObject({
      code: "device-lost",
      message: "The device cuda:0 (NVIDIA H100 80GB HBM3) was lost: CUDA error 719.",
    });
    expect(told).toEqual([card.loss.reason]);
    const { length } = fake.called;
    await expect(card.allocate(MIB, "pictures")).rejects.toBe(card.loss.reason);
    await card.release([fake.ortCall()]);
    expect(fake.called).toHaveLength(length);
    expect(card.budget.used).toBe(0);
  });

  it("is reset and opened again once nothing of this process is on it any more", async () => {
    const { fake, cards } = await machine();
    const card = await cards.open(0);
    card.sessions.add(1n);
    fake.sticky = 700;
    await expect(card.call([card.synchronize()])).rejects.toMatchObject({ code: "device-lost" });
    // Somebody's session is still there: whatever it holds must not be pulled away, and the card goes on failing.
    expect(await refusal(cards)).toMatchObject({ code: "device-lost" });
    expect(fake.called).not.toContain("cudaDeviceReset");
    card.sessions.delete(1n);
    const again = await cards.open(0);
    expect(again).not.toBe(card);
    expect(again.loss.aborted).toBe(false);
    await again.call([fake.ortCall()]);
  });

  it("fails to open as long as it is gone, and is found when it is there again", async () => {
    const { fake, cards } = await machine();
    fake.failures.set("cuDeviceGetCount", 999);
    expect(await refusal(cards)).toMatchObject({ code: "device-unavailable" });
    fake.failures.clear();
    expect((await cards.open(0)).index).toBe(0);
    expect(fake.threads).toEqual(["cuda:0", "cuda:0"]);
  });
});
