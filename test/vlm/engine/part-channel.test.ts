import { describe, expect, it } from "vitest";
import { channelParts } from "../../../src/vlm/engine/part-channel.ts";
import type { StreamPart } from "../../../src/vlm/vision-language-model.ts";

const delta = (text: string): StreamPart => ({ type: "text-delta", text });

async function read(parts: AsyncIterable<StreamPart>): Promise<string> {
  let text = "";
  for await (const part of parts) if (part.type === "text-delta") text += part.text;
  return text;
}

describe("channelParts", () => {
  it("hands on what is pushed, in order, and ends", async () => {
    const parts = channelParts(async (push) => {
      push(delta("a"));
      await Promise.resolve();
      push(delta("b"));
    });
    expect(await read(parts)).toBe("ab");
  });

  it("does not wait for its reader", async () => {
    let finish = () => {};
    const done = new Promise<void>((resolve) => (finish = resolve));
    const parts = channelParts(async (push) => {
      push(delta("a"));
      push(delta("b"));
      finish();
    });
    const first = await parts.next();
    expect(first.value).toEqual(delta("a"));
    await done;
    expect(await read(parts)).toBe("b");
  });

  it("throws a failure after what was produced before it", async () => {
    const parts = channelParts(async (push) => {
      push(delta("a"));
      throw new Error("broken");
    });
    expect((await parts.next()).value).toEqual(delta("a"));
    await expect(parts.next()).rejects.toThrow("broken");
  });

  it("stops the production when its reader leaves, and waits for its end", async () => {
    let ended = false;
    const parts = channelParts(async (push, abandoned) => {
      push(delta("a"));
      await new Promise((resolve) => abandoned.addEventListener("abort", resolve));
      await new Promise((resolve) => setImmediate(resolve));
      ended = true;
    });
    for await (const _ of parts) break;
    expect(ended).toBe(true);
  });
});
