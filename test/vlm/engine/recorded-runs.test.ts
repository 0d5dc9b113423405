// Steps of answers that ONNX Runtime records on a card: whatever else happens, runs of one recording have the very same
// memory, shapes and numbers of the host, since a recording knows nothing else. The decoder is asked to record on the CPU,
// where every run is a run like any other; what it gives to each is looked at.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { DeviceDecoder } from "../../../src/vlm/engine/device-decoder.ts";
import type { DeviceSlot } from "../../../src/vlm/engine/device-slots.ts";
import type { OnnxPackage } from "../../../src/vlm/engine/onnx-package.ts";
import { type NamedValues, Session } from "../../../src/vlm/runtime/session.ts";
import { goldenPackage } from "../../support/golden-package.ts";

let model: OnnxPackage;
let decoder: DeviceDecoder;
/** Of each recording, what its runs were given. */
let runs: Map<number, string[]>;

beforeAll(async () => {
  model = await goldenPackage("tiny-tied", { precision: "q4f16", device: "cpu" });
});

beforeEach(async () => {
  decoder = await DeviceDecoder.load(model, { captureGraphs: true });
  runs = new Map();
  const run = Session.prototype.run;
  vi.spyOn(Session.prototype, "run").mockImplementation(function (
    this: Session,
    inputs,
    outputs,
    options = {},
  ) {
    const { graphId = -1 } = options;
    runs.set(graphId, [...(runs.get(graphId) ?? []), placesOf(inputs, outputs)]);
    return run.call(this, inputs, outputs, options);
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await decoder.dispose();
});

afterAll(() => vi.restoreAllMocks());

/** Where everything lies that a run reads and writes, how large it is, and the one number that stays on the host. */
function placesOf(inputs: NamedValues, outputs: NamedValues): string {
  const places = [...Object.entries(inputs), ...Object.entries(outputs)].map(
    ([name, { address, dims }]) => `${name} ${address} ${dims.join("x")}`,
  );
  return [...places, `longest ${inputs.total_sequence_length?.read().join()}`].join("\n");
}

const inputOf = (...ids: number[]) => ({
  ids: Int32Array.from(ids),
  positions: Int32Array.from({ length: 3 * ids.length }, (_, i) => i % ids.length),
});

async function step(...slots: DeviceSlot[]): Promise<void> {
  await decoder.decode(slots.map((slot) => ({ slot, id: 5, position: slot.length })));
}

/** Of the recordings so far, in order, how often each was used. */
function uses(): number[] {
  const recorded = [...runs].filter(([id]) => id >= 0);
  for (const [, places] of recorded) expect(new Set(places).size).toBe(1);
  // What lies elsewhere has another recording.
  expect(new Set(recorded.map(([, [first]]) => first)).size).toBe(recorded.length);
  return recorded.map(([, places]) => places.length);
}

describe("recorded steps", () => {
  it("are one recording for each number of chats, however long the chats are", async () => {
    const slots = await decoder.createSlots(4, 32);
    const [a, b, c] = [slots.open(), slots.open(), slots.open()];
    await decoder.append(inputOf(1, 2, 3), a);
    await step(a);
    await step(a);
    await decoder.append(inputOf(1), b);
    await decoder.append(inputOf(4, 5, 6, 7, 8, 9), c);
    await step(a, b, c);
    await step(c, a);
    await step(a, b);
    await step(a);
    expect(uses()).toEqual([3, 2, 1]);
  });

  it("go on where a chat leaves in the middle, and another one takes its place", async () => {
    const slots = await decoder.createSlots(4, 32);
    const [a, b, c] = [slots.open(), slots.open(), slots.open()];
    for (const slot of [a, b, c]) await decoder.append(inputOf(1, 2), slot);
    await step(a, b, c);
    b.dispose();
    await step(a, c);
    const d = slots.open();
    expect(d.row).toBe(1);
    await decoder.append(inputOf(9, 8, 7), d);
    await step(a, c, d);
    c.truncate(1);
    await step(a, c, d);
    expect(uses()).toEqual([4]);
    expect(slots.lengths).toEqual([6, 5, 2, 0]);
  });

  it("alone in another row are another recording: other keys and values", async () => {
    const slots = await decoder.createSlots(2, 32);
    const [a, b] = [slots.open(), slots.open()];
    for (const slot of [a, b]) await decoder.append(inputOf(1, 2), slot);
    await step(a);
    await step(b);
    await step(a);
    expect(uses()).toEqual([2, 1]);
  });

  it("are not disturbed by prompts of any length between them, nor by all their scores", async () => {
    const slots = await decoder.createSlots(2, 32);
    const [a, b] = [slots.open(), slots.open()];
    await decoder.append(inputOf(1, 2), a);
    await step(a);
    for (let tokens = 1; tokens <= 12; tokens++) {
      const ids = Array.from({ length: tokens }, (_, index) => index);
      await decoder.append(inputOf(...ids), b, { scores: tokens % 2 ? "all" : "last" });
      b.truncate(0);
      await step(a);
    }
    expect(uses()).toEqual([13]);
    expect(runs.get(-1)).toHaveLength(13);
  });

  it("are recorded again when there are larger slots: tables and memory are others", async () => {
    const small = await decoder.createSlots(1, 16);
    const a = small.open();
    await decoder.append(inputOf(1, 2), a);
    await step(a);
    const large = await decoder.createSlots(1, 64);
    const b = large.open();
    await decoder.append(inputOf(1, 2), b);
    await step(b);
    await step(a);
    await step(b);
    await step(a);
    expect(uses()).toEqual([1, 2, 2]);
  });
});
