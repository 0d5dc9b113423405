// Steps by kernels of our own on a card that is played: when they are taken, when the graph goes on, and what is recorded
// for which memory. The card computes nothing: whatever comes from it are ones.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { CardSteps, type CardStepsOptions } from "../../../src/vlm/engine/card-steps.ts";
import { DeviceLogits } from "../../../src/vlm/engine/device-logits.ts";
import { DeviceRotary } from "../../../src/vlm/engine/device-rotary.ts";
import { DeviceSlots } from "../../../src/vlm/engine/device-slots.ts";
import type { OnnxPackage } from "../../../src/vlm/engine/onnx-package.ts";
import type { CardRow } from "../../../src/vlm/engine/step-check.ts";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { compilerNames } from "../../../src/vlm/runtime/cuda-libraries.ts";
import { memoryOn } from "../../support/card-memory.ts";
import { FakeCuda } from "../../support/fake-cuda.ts";
import { goldenPackage } from "../../support/golden-package.ts";
import { tempDir } from "../../support/temp-dir.ts";

const CAPACITY = 32;
let model: OnnxPackage;

beforeAll(async () => {
  model = await goldenPackage("tiny-tied", { precision: "q4f16", device: "cuda" });
});

beforeEach(() => vi.unstubAllEnvs());
afterEach(() => vi.unstubAllEnvs());

/** A card with a compiler, kernels for it, and slots. */
async function machine(options: CardStepsOptions = {}, count = 8) {
  const [directory, cache] = [await tempDir(), await tempDir()];
  for (const name of ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"]) vi.stubEnv(name, cache);
  const [builtins, compiler] = compilerNames(13);
  for (const name of [`${builtins}${builtins.endsWith(".") ? "0" : "0.dll"}`, compiler]) {
    await writeFile(join(directory, name), "");
  }
  const fake = new FakeCuda(directory);
  fake.pinnedNumber = 1;
  const card = await new CudaCards(fake.start).open(0);
  const memory = memoryOn(card);
  const { text } = model.config;
  const steps = await CardSteps.load(card, model, options);
  const logits = new DeviceLogits(memory, text.vocabSize);
  const parts = Array.from({ length: text.layers }, (_, layer) =>
    ["key", "value"].map((what) => ({
      ...{ name: `${layer}.${what}`, heads: text.kvHeads, width: text.headSize },
      type: "f16" as const,
    })),
  ).flat();
  const makeSlots = (rows = count) => DeviceSlots.create(memory, parts, rows, CAPACITY);
  const makeTables = (rows = CAPACITY + 1) => DeviceRotary.create(memory, text, rows);
  const fetch: DeviceLogits["fetch"] = (value, first) => logits.fetch(value, first);
  const owner = {
    /** A graph that says of everything what it is told to, ones by default. */
    byGraph: async (rows: readonly CardRow[], value = 1) => {
      for (const { slot } of rows) slot.grow(1);
      return rows.map(() => new Float32Array(text.vocabSize).fill(value));
    },
    read: async (ids: Int32Array, slot: CardRow["slot"]) => slot.grow(ids.length),
    fetch,
  };
  const [slots, tables] = [await makeSlots(), await makeTables()];
  return { fake, card, memory, steps, slots, tables, owner, fetch, makeSlots, makeTables };
}

/** Chats with so many tokens each. */
function chats(slots: DeviceSlots, ...lengths: number[]): CardRow[] {
  return lengths.map((length, index) => {
    const slot = slots.open();
    slot.grow(length);
    return { slot, id: 10 + index, position: length };
  });
}

/** A clock by which kernels take a millisecond, and the graph as many. */
function clock(graphMs: number): () => number {
  let [ms, asked] = [0, 0];
  return () => {
    // Asked before the kernels, between both, and after the graph.
    ms += [0, 1, graphMs][asked++ % 3]!;
    return ms;
  };
}

const count = (fake: FakeCuda, name: string) => fake.called.filter((one) => one === name).length;

describe("kernels of our own", () => {
  it("are taken where they compute what the graph computes, and sooner, for as many chats as they have forms", async () => {
    const { steps, slots, tables, owner, memory } = await machine({ now: clock(2) }, 17);
    const before = chats(slots, 3);
    expect(steps.takes(before)).toBe(false);
    before[0]!.slot.dispose();
    expect(await steps.prepare(memory, model)).toBeUndefined();
    expect(await steps.check(slots, tables, owner)).toBeUndefined();
    const rows = chats(slots, ...Array.from({ length: 17 }, () => 3));
    expect([1, 2, 16, 17].map((some) => steps.takes(rows.slice(0, some)))).toEqual([
      ...[true, true, true, false],
    ]);
    expect(steps.takes([])).toBe(false);
  });

  it("are not taken where the graph is as fast, unless they are being measured", async () => {
    const slow = await machine({ now: clock(1), mostChats: 8 });
    await slow.steps.prepare(slow.memory, model);
    const said = await slow.steps.check(slow.slots, slow.tables, slow.owner);
    expect(said).toBe(
      "Kernels of our own are not faster here for some numbers of chats, which are computed by the operators of ONNX " +
        "Runtime (1: 1.00 ms, the operators 1.00 ms; 4: 1.00 ms, the operators 1.00 ms; 8: 1.00 ms, the operators 1.00 ms).",
    );
    expect(slow.steps.takes(chats(slow.slots, 3))).toBe(false);
    const measured = await machine({ now: clock(1), always: true });
    await measured.steps.prepare(measured.memory, model);
    const { slots, tables, owner, steps } = measured;
    expect(await steps.check(slots, tables, owner)).toBeUndefined();
    expect(steps.takes(chats(slots, 3))).toBe(true);
  });

  it("are not taken where they compute something else, and a sentence says so", async () => {
    const { steps, slots, tables, owner, memory } = await machine({ always: true });
    await steps.prepare(memory, model);
    const off = { ...owner, byGraph: (rows: readonly CardRow[]) => owner.byGraph(rows, 2) };
    expect(await steps.check(slots, tables, off)).toMatch(
      /operators of ONNX Runtime, not by kernels of our own: they differ from the graph by 0\.50 of/,
    );
    expect(steps.takes(chats(slots, 3))).toBe(false);
  });

  it("that do not compile leave the graph alone, and nothing on the card", async () => {
    const { fake, steps, slots, tables, owner, memory, card } = await machine();
    const used = card.budget.used;
    fake.failures.set("cuModuleLoadData", 209);
    expect(await steps.prepare(memory, model)).toMatch(/cuModuleLoadData failed with error 209/);
    expect(await steps.check(slots, tables, owner)).toBeUndefined();
    fake.failures.clear();
    fake.failures.set("cudaMallocHost", 2);
    // Memory that is not there is no refusal: it is as if the model did not fit.
    await expect(steps.prepare(memory, model)).rejects.toMatchObject({ code: "device-memory" });
    expect(count(fake, "cuModuleUnload")).toBe(4);
    expect(card.budget.used).toBe(used);
  });

  it("that lose the card at the first try are named, so that a person can leave them out", async () => {
    const { fake, steps, slots, tables, owner, memory } = await machine();
    await steps.prepare(memory, model);
    fake.failures.set("cuGraphLaunch", 700);
    await expect(steps.check(slots, tables, owner)).rejects.toMatchObject({
      code: "device-lost",
      message: expect.stringMatching(/CUDA error 700\. It happened when .* `stepKernels: false`/),
    });
  });

  it("that the driver does not take later give way to the graph, once and for all", async () => {
    const { fake, steps, slots, tables, owner, memory, makeTables, fetch, card } = await machine({
      always: true,
    });
    await steps.prepare(memory, model);
    await steps.check(slots, tables, owner);
    const rows = chats(slots, 3, 5);
    expect(await steps.step(rows, tables, fetch)).toHaveLength(2);
    fake.failures.set("cuLaunchKernelEx", 701);
    const larger = await makeTables(2 * CAPACITY);
    expect(await steps.step(rows, larger, fetch)).toMatch(/recording of kernels failed.*701/);
    expect(steps.takes(rows)).toBe(false);
    expect(card.loss.aborted).toBe(false);
    expect(slots.lengths.slice(0, 2)).toEqual([3, 5]);
  });
});

describe("recorded steps", () => {
  it("belong to the memory that they were recorded with: other slots and tables have their own", async () => {
    const { fake, steps, slots, tables, owner, memory, makeSlots, makeTables, fetch } =
      await machine({ always: true });
    await steps.prepare(memory, model);
    await steps.check(slots, tables, owner);
    const others = await makeSlots();
    await steps.check(others, tables, owner);
    fake.replayed.length = 0;
    const recorded = count(fake, "cuStreamBeginCapture_v2");
    const [here, there] = [chats(slots, 3, 5, 7), chats(others, 3, 5, 7)];
    for (const rows of [here, there, here, there]) await steps.step(rows, tables, fetch);
    const [first, second] = fake.replayed as [bigint, bigint];
    expect(first).not.toBe(second);
    expect(fake.replayed).toEqual([first, second, first, second]);
    // Chats that come and go, and grow, change nothing of what lies where.
    here[1]!.slot.dispose();
    here[0]!.slot.grow(9);
    await steps.step([here[0]!, here[2]!], tables, fetch);
    expect(fake.replayed.at(-1)).toBe(first);
    expect(count(fake, "cuStreamBeginCapture_v2")).toBe(recorded);
    // Tables that were replaced are memory of somebody else by now.
    const larger = await makeTables(2 * CAPACITY);
    tables.dispose();
    await steps.step(here.slice(2), larger, fetch);
    await steps.step([here[0]!, here[2]!], larger, fetch);
    expect(fake.replayed.at(-1)).not.toBe(first);
    expect(count(fake, "cuStreamBeginCapture_v2")).toBe(recorded + 2);
    expect(count(fake, "cuGraphExecDestroy")).toBe(2);
  });

  it("have rows that nobody is in where a chat left, and never what it left behind", async () => {
    const { fake, steps, slots, tables, owner, memory, fetch } = await machine({ always: true });
    const pinnedBefore = fake.pinned.length;
    await steps.prepare(memory, model);
    await steps.check(slots, tables, owner);
    // What goes to the card: ids, positions, lengths and slots of the form for four, each from a multiple of 256 bytes on.
    const up = fake.pinned.slice(pinnedBefore).filter(({ byteLength }) => byteLength === 1024)[1]!;
    const sent = () => ({
      ids: [...new BigInt64Array(up, 0, 4)].map(Number),
      positions: [...new BigInt64Array(up, 256, 4)].map(Number),
      lengths: [...new Int32Array(up, 512, 4)],
      slots: [...new Int32Array(up, 768, 4)],
    });
    const rows = chats(slots, 3, 5, 7, 9);
    await steps.step(rows, tables, fetch);
    expect(sent()).toEqual({
      ids: [10, 11, 12, 13],
      positions: [3, 5, 7, 9],
      lengths: [3, 5, 7, 9],
      slots: [0, 1, 2, 3],
    });
    rows[1]!.slot.dispose();
    await steps.step([rows[3]!, rows[0]!], tables, fetch);
    expect(sent()).toEqual({
      ids: [13, 10, 0, 0],
      positions: [9, 3, 0, 0],
      lengths: [9, 3, 0, 0],
      slots: [3, 0, -1, -1],
    });
  });

  it("of two models are made one after the other on one card", async () => {
    const { fake, steps, slots, tables, owner, memory, card } = await machine({ always: true });
    const second = await CardSteps.load(card, model, { always: true });
    await Promise.all([steps.prepare(memory, model), second.prepare(memory, model)]);
    fake.called.length = 0;
    const free = await DeviceSlots.create(
      memory,
      [{ name: "0.key", heads: 1, width: 4, type: "f16" }],
      1,
      CAPACITY,
    );
    await Promise.all([
      steps.check(slots, tables, owner),
      memory.finish(memory.clear(free.slab("0.key"))),
    ]);
    const inCapture: string[] = [];
    let capturing = false;
    for (const name of fake.called) {
      if (name === "cuStreamEndCapture") capturing = false;
      if (capturing) inCapture.push(name);
      if (name === "cuStreamBeginCapture_v2") {
        expect(capturing).toBe(false);
        capturing = true;
      }
    }
    expect(new Set(inCapture)).toEqual(new Set(["cuLaunchKernelEx"]));
  });
});
