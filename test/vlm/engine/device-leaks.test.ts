// What is allocated on a card in several pieces is there whole or not at all: the first, the second and each further
// allocation fails in turn, on a card that is played, and nothing stays taken.

import { describe, expect, it } from "vitest";
import { DevicePictures } from "../../../src/vlm/engine/device-pictures.ts";
import { DeviceRunBuffers } from "../../../src/vlm/engine/device-run-buffers.ts";
import { DeviceSlots } from "../../../src/vlm/engine/device-slots.ts";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { memoryOn } from "../../support/card-memory.ts";
import { FakeCuda } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

const SIZES = { hiddenSize: 8, headSize: 4, vocabSize: 16, deepstackTaps: 3, candidates: 4 };
const PARTS = [
  { name: "0.key", heads: 2, width: 4, type: "f16" },
  { name: "0.value", heads: 2, width: 4, type: "f16" },
] as const;

async function machine() {
  const fake = new FakeCuda(await tempDir());
  const card = await new CudaCards(fake.start).open(0);
  const memory = memoryOn(card);
  return { fake, card, memory };
}

type Machine = Awaited<ReturnType<typeof machine>>;

const WORK: Readonly<Record<string, (machine: Machine) => Promise<unknown>>> = {
  "buffers of a run": async ({ memory }) => {
    const logits = await memory.allocate("f32", [1, SIZES.vocabSize], "logits");
    const shape = { batch: 1, tokens: 3, rows: 1 };
    return DeviceRunBuffers.create(memory, SIZES, shape, logits).catch((error: unknown) => {
      logits.dispose();
      throw error;
    });
  },
  "a run without pictures": ({ memory }) => new DevicePictures(memory, SIZES).none(),
  "a run with pictures": ({ memory }) =>
    new DevicePictures(memory, SIZES).bind([], new Uint8Array(3), 3),
  "keys and values": ({ memory }) => DeviceSlots.create(memory, PARTS, 2, 8),
  "a kept prefix": async ({ memory }) => {
    const slots = await DeviceSlots.create(memory, PARTS, 1, 8);
    const slot = slots.open();
    slot.grow(4);
    return slot.read(0, 4).catch((error: unknown) => {
      slots.dispose();
      throw error;
    });
  },
};

/** Functions of CUDA that take memory, or move what is in it. */
const FUNCTIONS = ["cudaMalloc", "cudaMallocHost", "cudaMemsetAsync", "cudaMemcpy2DAsync"];

describe.each(Object.keys(WORK))("%s", (name) => {
  it.each(FUNCTIONS)(
    "leaves nothing taken where %s finds no memory, at whichever call",
    async (failing) => {
      let refusals = 0;
      for (let nth = 1; ; nth++) {
        const played = await machine();
        const { fake, card } = played;
        fake.failNth(failing, nth, 2);
        const failure = await WORK[name]!(played).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (failure === undefined) break;
        refusals++;
        expect(failure).toMatchObject({ code: "device-memory" });
        await card.call([card.synchronize()]);
        expect([card.budget.used, fake.usedBytes, fake.pinnedPieces]).toEqual([0, 0, 0]);
      }
      expect(refusals).toBeLessThan(20);
      if (failing === "cudaMalloc") expect(refusals).toBeGreaterThan(0);
    },
  );
});
