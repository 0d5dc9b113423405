// 500 mixed requests against the real engine: text, one to three pictures that chats share, work ahead of time, aborts at
// random moments, caches so small that they forget all the time. Afterwards memory is flat and the model answers as before.

import { describe, expect, it } from "vitest";
import { Random } from "../../src/vlm/engine/random.ts";
import { isVlmError } from "../../src/vlm/errors.ts";
import { drawShapes, SHAPES } from "../support/draw.ts";
import { leastGrowth } from "../support/flat-memory.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

const REQUESTS = 500;
const AT_ONCE = 6;
const MIB = 2 ** 20;

describe("a long run of mixed requests", () => {
  it("leaves memory flat and the model healthy", async () => {
    // Small caches: pictures and prompts are forgotten and made again.
    await using model = await loadTinyChat({
      imageCacheBytes: 2 * MIB,
      featureCacheBytes: MIB / 8,
      prefixCacheBytes: MIB,
      maxConcurrent: 4,
    });
    const random = new Random(20_261_122);
    const pick = (count: number) => Math.floor(random.next() * count);
    const pictures = await Promise.all(
      SHAPES.flatMap((shape) =>
        (["red", "blue", "black"] as const).map((color) => drawShapes([{ shape, color }])),
      ),
    );
    const check = async () => {
      const picture = await drawShapes([{ shape: "circle", color: "red" }]);
      return (await model.generate({ messages: [userMessage(picture, "图里有什么？")] })).text;
    };
    const counts = { answered: 0, aborted: 0, unreadable: 0 };

    const request = async () => {
      const images = Array.from({ length: pick(4) }, () => pictures[pick(pictures.length)]!);
      if (pick(20) === 0) images.push(Buffer.from("not a picture"));
      const controller = new AbortController();
      const messages = [
        userMessage(...images, images.length > 1 ? "分别是什么？" : "图里有什么？"),
      ];
      const chat = `chat ${pick(5)}`;
      const { signal } = controller;
      if (pick(8) === 0) void model.warm({ messages, chat, signal }).catch(() => {});
      const stream = model.stream({ messages, maxTokens: 24, chat, signal });
      const aborting = pick(3) === 0;
      // By turns of the event loop, not by the clock: the moment is random and the run repeats.
      const abort = aborting
        ? afterTurns(pick(120)).then(() => controller.abort("changed my mind"))
        : undefined;
      try {
        for await (const part of stream) if (part.type === "finish") counts.answered++;
      } catch (error) {
        if (error === "changed my mind") counts.aborted++;
        else if (isVlmError(error) && error.code === "image-corrupt") counts.unreadable++;
        else if (isVlmError(error) && error.code === "image-unsupported") counts.unreadable++;
        else throw error;
      }
      await abort;
    };
    const run = async (total: number) => {
      let left = total;
      const worker = async () => {
        while (left-- > 0) await request();
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    };

    const before = await check();
    const grown = await leastGrowth(() => run(REQUESTS / 5));

    expect(await check()).toBe(before);
    expect(counts.answered + counts.aborted + counts.unreadable).toBe(REQUESTS);
    expect(counts.answered).toBeGreaterThan(REQUESTS / 3);
    expect(counts.aborted).toBeGreaterThan(5);
    expect(counts.unreadable).toBeGreaterThan(1);
    // A leak of one picture's tensors a request would be 20 MiB a round.
    expect(grown / MIB).toBeLessThan(10);
    console.info(`soak: ${JSON.stringify(counts)}, grown by ${(grown / MIB).toFixed(1)} MiB`);
  });
});

async function afterTurns(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}
