// Keys and values that grow, against the simplest thing that could be right: a list of tokens for each slot. Runs are played
// by hand: they must be given exactly what the list says, and hand back all of it and more.

import { afterAll, beforeAll, expect, it } from "vitest";
import { saturationProbe } from "../../../src/vlm/convert/saturation-probe.ts";
import type { PackedBlock } from "../../../src/vlm/engine/growing-memory.ts";
import type { GrowingSlot } from "../../../src/vlm/engine/growing-slot.ts";
import { GrowingSlots } from "../../../src/vlm/engine/growing-slots.ts";
import type { KvPart } from "../../../src/vlm/engine/kv-slabs.ts";
import { type NamedValues, Session } from "../../../src/vlm/runtime/session.ts";
import { elementBytes, type Value } from "../../../src/vlm/runtime/value.ts";

const PARTS: readonly KvPart[] = [
  { name: "0.key", type: "f32", heads: 2, width: 3 },
  { name: "0.value", type: "f16", heads: 3, width: 2 },
];
const CAPACITY = 40;

let session: Session;
beforeAll(async () => {
  session = await Session.load(saturationProbe("paired").model, { threads: 1 });
});
afterAll(() => session.dispose());

/** What a part holds of tokens: numbers that no other token, part, head or place has. */
function contents(part: number, tokens: readonly number[]): Uint8Array {
  const { type, heads, width } = PARTS[part]!;
  const numbers = Array.from({ length: heads }, (_, head) =>
    tokens.flatMap((token) =>
      Array.from({ length: width }, (_, at) => ((token * 5 + part) * 4 + head) * 4 + at),
    ),
  ).flat();
  const array = type === "f32" ? Float32Array.from(numbers) : Uint16Array.from(numbers);
  return new Uint8Array(array.buffer);
}

function packed(tokens: readonly number[]): PackedBlock {
  const bytes = Buffer.concat(PARTS.map((_, part) => contents(part, tokens)));
  return { tokens: tokens.length, byteLength: bytes.byteLength, bytes: new Uint8Array(bytes) };
}

const bytesOf = (value: Value) => {
  const array = value.read();
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
};

/** A run as a graph does it: reads everything that there was, writes everything that there is. */
async function run(slot: GrowingSlot, before: readonly number[], added: readonly number[]) {
  await slot.grow(added.length, async (past: NamedValues, present: NamedValues) => {
    for (const [part, { name, type, heads, width }] of PARTS.entries()) {
      const given = past[`past_key_values.${name}`]!;
      expect(given.dims).toEqual([1, heads, before.length, width]);
      if (before.length > 0) expect(bytesOf(given)).toEqual(contents(part, before));
      const target = present[`present.${name}`]!;
      const after = [...before, ...added];
      expect(target.dims).toEqual([1, heads, after.length, width]);
      const byteLength = after.length * width * elementBytes(type);
      const pieces = { first: 0, stride: byteLength, count: heads, byteLength };
      await target.writePieces(pieces, contents(part, after));
    }
  });
}

/** Numbers that look random and are the same every time. */
function draws(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

it.each([1, 2, 3, 4, 5, 6])("hold what was put in, whatever happens (seed %d)", async (seed) => {
  const slots = new GrowingSlots(session, PARTS, 3, CAPACITY);
  const draw = draws(seed);
  const held = new Map<GrowingSlot, number[]>();
  let nextToken = 1;
  const some = (count: number) => Array.from({ length: count }, () => nextToken++ % 3000);
  for (let step = 0; step < 300; step++) {
    if (held.size < 3 && draw(3) === 0) held.set(slots.open(), []);
    const slot = [...held.keys()][draw(held.size)];
    if (!slot) continue;
    const tokens = held.get(slot)!;
    const room = CAPACITY - tokens.length;
    const action = draw(6);
    if (action <= 1 && room > 0) {
      const added = some(1 + draw(Math.min(room, 7)));
      await run(slot, tokens, added);
      tokens.push(...added);
    } else if (action === 2 && room > 0) {
      const block = some(1 + draw(Math.min(room, 9)));
      const wanted = 1 + draw(block.length);
      await slot.append(packed(block), wanted);
      tokens.push(...block.slice(0, wanted));
    } else if (action === 3) {
      tokens.length = draw(tokens.length + 1);
      slot.truncate(tokens.length);
    } else if (action === 4) {
      const start = draw(tokens.length + 1);
      const end = start + draw(tokens.length - start + 1);
      const block = await slot.read(start, end);
      expect(block.tokens).toBe(end - start);
      expect([...block.bytes]).toEqual([...packed(tokens.slice(start, end)).bytes]);
    } else if (action === 5 && draw(4) === 0) {
      slot.dispose();
      held.delete(slot);
    }
    expect(slot.disposed ? 0 : slot.length).toBe(slot.disposed ? 0 : tokens.length);
  }
  slots.dispose();
});

it("are as before when a run fails, also when others wait for their turn", async () => {
  const slots = new GrowingSlots(session, PARTS, 2, CAPACITY);
  const [one, other] = [slots.open(), slots.open()];
  await run(one, [], [1, 2, 3]);
  const failing = one.grow(1, async () => {
    await new Promise((resolve) => setImmediate(resolve));
    throw new Error("failed");
  });
  const meanwhile = run(other, [], [7, 8]);
  expect(() => one.truncate(1)).toThrow("in use");
  await expect(failing).rejects.toThrow("failed");
  await meanwhile;
  expect([one.length, other.length]).toEqual([3, 2]);
  await run(one, [1, 2, 3], [4]);
  await run(other, [7, 8], [9]);
  slots.dispose();
});

it("give their memory back when they are disposed of during a run, and not before", async () => {
  const slots = new GrowingSlots(session, PARTS, 1, CAPACITY);
  const slot = slots.open();
  await slot.grow(1, async () => {
    slot.dispose();
    expect(() => slots.open()).toThrow(RangeError);
  });
  const next = slots.open();
  await run(next, [], [5]);
  await expect(slot.grow(1, async () => {})).rejects.toThrow("disposed");
  slots.dispose();
});
