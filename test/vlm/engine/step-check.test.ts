// Comparing kernels of our own with the graph: which chats are computed both ways, what is found, and what is left. Both
// ways are played; the card that they are meant for is in card-steps.test.ts.

import { describe, expect, it } from "vitest";
import type { Scores } from "../../../src/vlm/engine/decoder-backend.ts";
import { DeviceSlots } from "../../../src/vlm/engine/device-slots.ts";
import { type CardRow, checkSteps, type StepWays } from "../../../src/vlm/engine/step-check.ts";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { memoryOn } from "../../support/card-memory.ts";
import { FakeCuda } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

const VOCABULARY = 8;

async function slotsFor(count: number, capacity = 512): Promise<DeviceSlots> {
  const card = await new CudaCards(new FakeCuda(await tempDir()).start).open(0);
  const memory = memoryOn(card);
  const part = { name: "0.key", heads: 1, width: 4, type: "f16" } as const;
  return DeviceSlots.create(memory, [part], count, capacity);
}

/** Ways whose logits are the id and the length of each chat; the clock goes on by what each takes. */
function played(
  options: { kernelsMs?: (chats: number) => number; off?: (chats: number) => number } = {},
) {
  let clock = 0;
  const steps: { by: "kernels" | "graph"; lengths: number[] }[] = [];
  const scores = (rows: readonly CardRow[], factor: number): Scores[] =>
    rows.map(({ slot, id }) =>
      Float32Array.from({ length: VOCABULARY }, (_, i) => factor * (id + i + slot.length)),
    );
  const note = (by: "kernels" | "graph", rows: readonly CardRow[]) =>
    steps.push({ by, lengths: rows.map(({ slot }) => slot.length) });
  const ways: StepWays = {
    forms: [1, 4, 8],
    byKernels: async (rows) => {
      note("kernels", rows);
      clock += options.kernelsMs?.(rows.length) ?? 1;
      return scores(rows, options.off?.(rows.length) ?? 1);
    },
    byGraph: async (rows) => {
      note("graph", rows);
      clock += 2;
      const found = scores(rows, 1);
      for (const { slot } of rows) slot.grow(1);
      return found;
    },
    read: async (ids, slot) => slot.grow(ids.length),
  };
  return { ways, steps, now: () => clock };
}

describe("comparing steps both ways", () => {
  it("computes every form, of chats whose tokens are one part, several, and at the borders of parts", async () => {
    const { ways, steps, now } = played();
    const slots = await slotsFor(8);
    const { difference, times } = await checkSteps(ways, slots, VOCABULARY, now);
    expect(difference).toBe(0);
    expect(times).toEqual([1, 4, 8].map((chats) => ({ chats, kernelsMs: 1, graphMs: 2 })));
    const lengths = steps.filter(({ by }) => by === "kernels").map((step) => step.lengths);
    expect(new Set(lengths.map((all) => all.length))).toEqual(new Set([1, 4, 8]));
    // Even one chat alone has several parts.
    expect(lengths[0]![0]).toBeGreaterThan(128);
    expect(lengths.at(-1)).toEqual(expect.arrayContaining([1, 63, 64, 129, 300]));
    expect(slots.lengths).toEqual(Array.from({ length: 8 }, () => 0));
  });

  it("computes the form that has more room than there are slots: it is what they will need", async () => {
    const { ways, steps, now } = played();
    const { times } = await checkSteps(ways, await slotsFor(3), VOCABULARY, now);
    expect(times.map(({ chats }) => chats)).toEqual([1, 4]);
    const kernels = steps.filter(({ by }) => by === "kernels");
    expect(Math.max(...kernels.map(({ lengths }) => lengths.length))).toBe(3);
  });

  it("finds a form that is off, whichever it is", async () => {
    for (const wrong of [1, 4, 8]) {
      const { ways, now } = played({ off: (chats) => (chats === wrong ? 1.5 : 1) });
      const { difference } = await checkSteps(ways, await slotsFor(8), VOCABULARY, now);
      expect(difference).toBeCloseTo(0.5);
    }
    const { ways, now } = played({ off: () => Number.NaN });
    const found = await checkSteps(ways, await slotsFor(1), VOCABULARY, now);
    expect(found.difference).toBe(Number.POSITIVE_INFINITY);
  });

  it("takes the shortest of several turns, since something else may disturb one", async () => {
    let turn = 0;
    const { ways, now } = played({ kernelsMs: () => (turn++ % 3 === 0 ? 50 : 1.5) });
    const { times } = await checkSteps(ways, await slotsFor(1), VOCABULARY, now);
    expect(times).toEqual([{ chats: 1, kernelsMs: 1.5, graphMs: 2 }]);
  });

  it("leaves slots empty whatever fails, and fits into small ones", async () => {
    const { ways, now } = played();
    const slots = await slotsFor(4, 16);
    const broken = { ...ways, byKernels: () => Promise.reject(new Error("of the card")) };
    await expect(checkSteps(broken, slots, VOCABULARY, now)).rejects.toThrow("of the card");
    const unreadable = { ...ways, read: () => Promise.reject(new Error("no prompt")) };
    await expect(checkSteps(unreadable, slots, VOCABULARY, now)).rejects.toThrow("no prompt");
    expect((await checkSteps(ways, slots, VOCABULARY, now)).difference).toBe(0);
    expect(slots.open().row).toBe(0);
  });

  it("does not compare with a graph whose own logits are no numbers", async () => {
    const { ways, now } = played();
    const byGraph: StepWays["byGraph"] = async (rows) => {
      for (const { slot } of rows) slot.grow(1);
      return rows.map(() => new Float32Array(VOCABULARY).fill(Number.NaN));
    };
    const checking = checkSteps({ ...ways, byGraph }, await slotsFor(1), VOCABULARY, now);
    await expect(checking).rejects.toMatchObject({ name: "NothingToCompareError" });
  });
});
