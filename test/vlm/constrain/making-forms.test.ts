// Forms while they are made: others have their turn, equal ones are made once, and what nobody waits for any more stops.
// The clock is a fake: every look at it costs a millisecond, so that the number of turns is the same on every machine.

import { setImmediate } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ResponseFormats } from "../../../src/vlm/constrain/response-format.ts";
import type { Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import type { ResponseFormat } from "../../../src/vlm/vision-language-model.ts";
import { loadTinyChat } from "../text/tokenizers.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTinyChat();
});
afterEach(() => vi.restoreAllMocks());

/** @param onRead called for each token whose bytes are looked at */
function newFormats(onRead: () => void = () => {}): ResponseFormats {
  let now = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now++);
  return new ResponseFormats({
    size: tokenizer.size,
    isAdded: (id) => tokenizer.isAdded(id),
    tokenBytes: (id) => {
      onRead();
      return tokenizer.tokenBytes(id);
    },
    endIds: new Set(tokenizer.stopTokenIds),
  });
}

/** Turns of the event loop until something is settled. */
async function turnsUntil(promise: Promise<unknown>): Promise<number> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  void promise.then(settle, settle);
  let turns = 0;
  for (; !settled; turns++) await setImmediate();
  return turns;
}

const large = (name: string): ResponseFormat => ({
  type: "json",
  schema: {
    type: "object",
    properties: Object.fromEntries(
      Array.from({ length: 4 }, (_, i) => [
        `${name}${i}`,
        { type: "string", pattern: `^[^<>${name}]{0,${40 + i}}$`, maxLength: 30 + i },
      ]),
    ),
  },
});

describe("forms that are made", () => {
  it.each<[string, ResponseFormat, number]>([
    ["the vocabulary", { type: "choice", options: ["a"] }, 30],
    ["patterns beside lengths", large("x"), 100],
    ["many alternatives", { type: "regex", pattern: `${"ab|cd.*|".repeat(500)}e` }, 100],
    [
      "a character class of half of Unicode",
      { type: "regex", pattern: "[\\p{L}\\p{N}]{0,20}" },
      300,
    ],
    [
      "many keys",
      {
        type: "json",
        schema: {
          type: "object",
          properties: Object.fromEntries(
            Array.from({ length: 1000 }, (_, i) => [`key ${i}`, { type: "integer" }]),
          ),
        },
      },
      100,
    ],
    [
      "what is refused in the end",
      { type: "json", schema: { type: "string", pattern: "^a{3000}$", maxLength: 3500 } },
      50,
    ],
  ])("let others have their turn: %s", async (_, format, least) => {
    expect(await turnsUntil(newFormats().constraint(format))).toBeGreaterThan(least);
  });

  it("are made side by side, none behind the others", async () => {
    const formats = newFormats();
    const order: string[] = [];
    const slow = formats.constraint(large("y")).then(() => order.push("slow"));
    const quick = formats
      .constraint({ type: "choice", options: ["yes", "no"] })
      .then(() => order.push("quick"));
    await Promise.all([slow, quick]);
    expect(order).toEqual(["quick", "slow"]);
  });

  it("are made once for all who ask at the same time, and go on when one of them leaves", async () => {
    const formats = newFormats();
    let made = 0;
    const make = vi.spyOn(formats, "constraintOf");
    const leaving = new AbortController();
    const leaves = formats.constraint(large("z"), leaving.signal);
    const stays = formats.constraint(large("z"));
    void stays.then(() => made++);
    await setImmediate();
    leaving.abort(new Error("gone"));
    await expect(leaves).rejects.toThrow("gone");
    const first = await stays;
    const turns = await turnsUntil(formats.constraint(large("z")));
    expect(make).toHaveBeenCalledTimes(3);
    expect(made).toBe(1);
    expect(first.mask.some((word) => word !== 0)).toBe(true);
    // It is there already.
    expect(turns).toBeLessThan(5);
  });

  it("stop as soon as nobody waits for them", async () => {
    let read = 0;
    const formats = newFormats(() => read++);
    const leaving = new AbortController();
    const made = formats.constraint({ type: "choice", options: ["a"] }, leaving.signal);
    while (read === 0) await setImmediate();
    leaving.abort(new Error("gone"));
    await expect(made).rejects.toThrow("gone");
    const readUntilThen = read;
    for (let turn = 0; turn < 50; turn++) await setImmediate();
    expect(read).toBe(readUntilThen);
    expect(read).toBeLessThan(tokenizer.size / 2);
    // Whoever comes later starts afresh.
    const constraint = await formats.constraint({ type: "choice", options: ["a"] });
    expect(constraint.mask.some((word) => word !== 0)).toBe(true);
  });

  it("give way while a mask is found", async () => {
    const formats = newFormats();
    // So many sets of characters that no two tokens are alike.
    const sets = Array.from({ length: 80 }, (_, i) => `[^\\u{${(0x4e00 + i).toString(16)}}]{0,20}`);
    const constraint = await formats.constraint({ type: "regex", pattern: sets.join("|") });
    constraint.accept(tokenizer.encodeText("a")[0]!);
    const found = constraint.prepare();
    expect(found).toBeDefined();
    expect(await turnsUntil(found!)).toBeGreaterThan(5);
    expect(constraint.prepare()).toBeUndefined();
    expect(constraint.mask.some((word) => word !== 0)).toBe(true);
  });
});
