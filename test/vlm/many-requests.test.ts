// Hundreds of requests of many chats at once, some of them aborted at any moment, with caches that hold next to nothing:
// every answer is the one a chat alone would get, and memory stays where it was.

import { afterAll, beforeAll, expect, it } from "vitest";
import { Random } from "../../src/vlm/engine/random.ts";
import { QueueFullError } from "../../src/vlm/errors.ts";
import type { Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import { drawShapes } from "../support/draw.ts";
import { leastGrowth } from "../support/flat-memory.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

const REQUESTS = 500;
const AT_ONCE = 12;
const CHATS = 9;
const MAX_TOKENS = 6;
const MIB = 2 ** 20;

let model: Qwen3VlModel;
let plain: Qwen3VlModel;
beforeAll(async () => {
  model = await loadTinyChat({
    maxConcurrent: 4,
    maxQueue: AT_ONCE,
    imageCacheBytes: MIB,
    featureCacheBytes: MIB / 8,
    prefixCacheBytes: MIB / 2,
  });
  plain = await loadTinyChat({ featureCacheBytes: 0, prefixCacheBytes: 0, speculation: false });
});
afterAll(() => Promise.all([model.dispose(), plain.dispose()]));

it(`leaves memory flat over ${REQUESTS} mixed requests, and answers each as if it were alone`, async () => {
  const random = new Random(7);
  const below = (count: number) => Math.floor(random.next() * count);
  const shapes = ["circle", "square", "star", "cross"] as const;
  const pictures = await Promise.all(shapes.map((shape) => drawShapes([{ shape, color: "red" }])));
  const questions = ["图里有什么？", "它是什么颜色？", "你好", "What is in the picture?"];

  const conversation = () => {
    const picture = pictures[below(pictures.length)]!;
    const messages = [
      random.next() < 0.7
        ? userMessage(picture, questions[below(questions.length)]!)
        : userMessage(questions[below(questions.length)]!),
    ];
    const followUp = [
      ...messages,
      { role: "assistant" as const, content: "好的。" },
      userMessage(questions[below(questions.length)]!),
    ];
    return random.next() < 0.5 ? messages : followUp;
  };
  type Messages = ReturnType<typeof conversation>;

  const answered: { messages: Messages; text: string }[] = [];
  const counts = { aborted: 0, answered: 0, warmed: 0, forgotten: 0 };
  async function one(): Promise<void> {
    const messages = conversation();
    const chat = `chat ${below(CHATS)}`;
    const kind = random.next();
    if (kind < 0.05) {
      counts.forgotten++;
      await model.forget(kind < 0.02 ? { images: [pictures[below(pictures.length)]!] } : { chat });
      return;
    }
    if (kind < 0.12) {
      counts.warmed++;
      await model.warm({ messages, chat });
      return;
    }
    const controller = new AbortController();
    const pieces = kind < 0.4 ? below(4) : Number.POSITIVE_INFINITY;
    let text = "";
    let seen = 0;
    if (pieces === 0) setImmediate(() => controller.abort("enough"));
    try {
      const request = { messages, chat, maxTokens: MAX_TOKENS, signal: controller.signal };
      for await (const part of model.stream(request)) {
        if (part.type === "text-delta") text += part.text;
        if (++seen === pieces) controller.abort("enough");
      }
      counts.answered++;
      if (answered.length < 25) answered.push({ messages, text });
    } catch (error) {
      expect(error).toBe("enough");
      counts.aborted++;
    }
  }

  let left = 0;
  const worker = async () => {
    while (left-- > 0) await one();
  };
  const requests = async (count: number) => {
    left = count;
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  };
  const grown = await leastGrowth(() => requests(REQUESTS / 5), { rounds: 5 });
  expect(counts.aborted).toBeGreaterThan(REQUESTS / 20);
  expect(counts.answered).toBeGreaterThan(REQUESTS / 3);
  expect(Math.min(counts.warmed, counts.forgotten)).toBeGreaterThan(0);
  // One tensor of a picture kept for each request would be 40 MiB a round, one context 60.
  expect(grown).toBeLessThan(20 * MIB);

  for (const { messages, text } of answered) {
    expect((await plain.generate({ messages, maxTokens: MAX_TOKENS })).text).toBe(text);
  }
  // No place was lost, and no more are given than there are.
  const asked = Array.from({ length: 4 + AT_ONCE + 1 }, () =>
    model.generate({ messages: [userMessage("你好")], maxTokens: 1 }),
  );
  const outcomes = await Promise.allSettled(asked);
  const refused = outcomes.flatMap((o) => (o.status === "rejected" ? [o.reason] : []));
  expect(refused.length).toBeLessThanOrEqual(1);
  for (const reason of refused) expect(reason).toBeInstanceOf(QueueFullError);
});
