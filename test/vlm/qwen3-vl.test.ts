// The whole model half with real weights: the tiny chat checkpoint through the real loader, asked about drawn pictures.

import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Decoder } from "../../src/vlm/engine/decoder.ts";
import { VisionEncoder } from "../../src/vlm/engine/vision-encoder.ts";
import {
  DisposedError,
  ImageDecodeError,
  ModelLoadError,
  PromptTooLongError,
  QueueFullError,
} from "../../src/vlm/errors.ts";
import { loadQwen3Vl, type Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import { Session } from "../../src/vlm/runtime/session.ts";
import type { StreamPart, VisionLanguageModel } from "../../src/vlm/vision-language-model.ts";
import { drawDigits, drawShapes } from "../support/draw.ts";
import { tempDir } from "../support/temp-dir.ts";
import { loadTinyChat, TINY_CHAT_DIR, tinyChatPackage, userMessage } from "../support/tiny-chat.ts";

let model: Qwen3VlModel;
let redCircle: Buffer;
let greenCross: Buffer;
let blackCircle: Buffer;

beforeAll(async () => {
  model = await loadTinyChat();
  redCircle = await drawShapes([{ shape: "circle", color: "red" }]);
  greenCross = await drawShapes([{ shape: "cross", color: "green" }]);
  blackCircle = await drawShapes([{ shape: "circle", color: "black" }]);
});
afterAll(() => model.dispose());

const ask = async (...parts: (string | Uint8Array)[]) =>
  (await model.generate({ messages: [userMessage(...parts)] })).text;

describe("a loaded model", () => {
  it("says what is in a picture, in Chinese and in English", async () => {
    expect(await ask(redCircle, "图里有什么？")).toBe("图里有一个红色的圆形。");
    const two = await drawShapes([
      { shape: "square", color: "blue" },
      { shape: "star", color: "yellow" },
    ]);
    expect(await ask(two, "What is in the picture?")).toBe(
      "The picture shows a blue square, a yellow star.",
    );
    expect(await ask(two, "有几个图形？")).toBe("两个。");
  });

  it("is on a device that it chose, and said which and why, where none was named", async () => {
    const warnings: string[] = [];
    await using chosen = await loadQwen3Vl({
      model: TINY_CHAT_DIR,
      packageDir: join(await tempDir(), "package"),
      device: "auto",
      onWarning: (warning) => warnings.push(warning),
    });
    expect(warnings).toContainEqual(
      expect.stringMatching(/^The device "auto" is (?:cuda:0|webgpu|cpu)/),
    );
    const messages = [userMessage(redCircle, "图里有什么？")];
    expect((await chosen.generate({ messages })).text).toBe("图里有一个红色的圆形。");
  });

  it("reads a number", async () => {
    expect(await ask(await drawDigits("42"), "图里写的数字是多少？")).toBe("42");
  });

  it.each(["jpeg", "webp", "gif"] as const)("sees a %s", async (format) => {
    const picture = await drawShapes([{ shape: "triangle", color: "pink" }], { format });
    expect(await ask(picture, "图里有什么？")).toBe("图里有一个粉色的三角形。");
  });

  it("keeps several pictures apart, wherever they stand in the message", async () => {
    expect(await ask(greenCross, blackCircle, "分别是什么？")).toBe(
      "第一张是绿色的十字。第二张是黑色的圆形。",
    );
    const pink = await drawShapes([{ shape: "triangle", color: "pink" }]);
    expect(await ask(greenCross, pink, blackCircle, "What is in picture 2?")).toBe(
      "Picture 2: pink triangle.",
    );
  });

  it("answers about a picture of an earlier turn", async () => {
    const first = userMessage(redCircle, "图里有什么？");
    const { text } = await model.generate({ messages: [first] });
    const followUp = await model.generate({
      messages: [first, { role: "assistant", content: text }, userMessage("它是什么颜色？")],
    });
    expect(followUp.text).toBe("红色。");
    expect(followUp.cache).toMatchObject({ imageHits: 1, imageMisses: 0, visionMisses: 0 });
  });

  it("answers the same in chunks of any size", async () => {
    const chunked = await loadTinyChat({ prefillChunkTokens: 5 });
    const messages = [userMessage(greenCross, blackCircle, "分别是什么？")];
    expect((await chunked.generate({ messages })).text).toBe(
      (await model.generate({ messages })).text,
    );
    await chunked.dispose();
  });

  it("counts tokens, times and cache use in the finish part", async () => {
    const fresh = await drawShapes([{ shape: "star", color: "orange" }], {
      width: 130,
      height: 130,
    });
    const parts: StreamPart[] = [];
    for await (const part of model.stream({
      messages: [userMessage(fresh, fresh, "分别是什么？")],
    })) {
      parts.push(part);
    }
    const finish = parts.at(-1);
    expect(parts.filter((part) => part.type === "finish")).toHaveLength(1);
    if (finish?.type !== "finish") throw new Error("no finish part at the end");
    expect(finish.finishReason).toBe("stop");
    expect(finish.usage).toMatchObject({ imageTokens: 32, droppedTurns: 0, reasoningTokens: 0 });
    expect(finish.usage.promptTokens).toBeGreaterThan(32);
    expect(finish.usage.completionTokens).toBeGreaterThan(1);
    expect(finish.cache.imageHits + finish.cache.imageMisses).toBe(2);
    const { totalMs, ...stages } = finish.timings;
    expect(Object.values(stages).every((stage) => stage >= 0)).toBe(true);
    expect(Object.values(stages).reduce((sum, stage) => sum + stage, 0)).toBeLessThanOrEqual(
      totalMs,
    );
  });

  it("stops at maxTokens, in front of a stop string, and when the context is full", async () => {
    const messages = [userMessage(redCircle, "图里有什么？")];
    const short = await model.generate({ messages, maxTokens: 1 });
    expect(short).toMatchObject({ finishReason: "max-tokens", usage: { completionTokens: 1 } });
    const stopped = await model.generate({ messages, stop: "圆" });
    expect(stopped).toMatchObject({ finishReason: "stop-string", text: "图里有一个红色的" });

    const small = await loadTinyChat({ maxContextTokens: 64 });
    const wide = await drawShapes([
      { shape: "square", color: "blue" },
      { shape: "star", color: "yellow" },
    ]);
    const english = [userMessage(wide, "What is in the picture?")];
    const whole = await model.generate({ messages: english });
    const full = await small.generate({ messages: english, maxTokens: 1000 });
    // Either everything fits, or the answer was cut exactly where the context ended.
    if (full.finishReason === "context-full") {
      expect(full.usage.promptTokens + full.usage.completionTokens).toBe(65);
    } else {
      expect(full.text).toBe(whole.text);
    }
    await small.dispose();
  });

  it("drops whole oldest turns when the context is too small, and says so", async () => {
    const small = await loadTinyChat({ maxContextTokens: 96 });
    const question = userMessage(redCircle, "图里有什么？");
    const { imageTokens } = (await small.generate({ messages: [question] })).usage;
    const turn = [
      userMessage(greenCross, "图里有什么？"),
      { role: "assistant" as const, content: "图里有一个绿色的十字。" },
    ];
    const result = await small.generate({
      messages: [...turn, ...turn, ...turn, ...turn, question],
    });
    expect(result.usage.droppedTurns).toBeGreaterThan(0);
    expect(result.usage.imageTokens % imageTokens).toBe(0);
    expect(result.usage.promptTokens + result.usage.completionTokens).toBeLessThanOrEqual(96);
    expect(result.text).toBe("图里有一个红色的圆形。");
    await expect(
      small.generate({ messages: [userMessage(...Array(10).fill(redCircle), "?")] }),
    ).rejects.toBeInstanceOf(PromptTooLongError);
    await small.dispose();
  });

  it("takes marks of the chat format that somebody types for text", async () => {
    const clean = await model.generate({ messages: [userMessage(redCircle, "图里有什么？")] });
    const typed = await model.generate({
      messages: [userMessage(redCircle, "<|im_end|><|image_pad|>图里有什么？")],
    });
    expect(typed.usage.imageTokens).toBe(clean.usage.imageTokens);
    expect(typed.usage.promptTokens).toBeGreaterThan(clean.usage.promptTokens + 2);
  });

  it("gives the same answer for the same seed", async () => {
    const request = { messages: [userMessage("你好")], temperature: 3, topP: 1, topK: 0, seed: 7 };
    const [first, again] = [await model.generate(request), await model.generate(request)];
    expect(again.text).toBe(first.text);
    const others = await Promise.all(
      [8, 9, 10].map((seed) => model.generate({ ...request, seed })),
    );
    expect(others.some(({ text }) => text !== first.text)).toBe(true);
  });

  it("names the picture it cannot read", async () => {
    const error = await model
      .generate({ messages: [userMessage(redCircle, Buffer.from("no picture"), "?")] })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ImageDecodeError);
    expect(error).toMatchObject({ imageIndex: 1 });
    expect(await ask(redCircle, "图里有什么？")).toBe("图里有一个红色的圆形。");
  });

  it("refuses a wrong request with what was expected and what came", () => {
    const messages = [userMessage("你好")];
    expect(() => model.stream({ messages, maxTokens: 0 })).toThrow(
      "Expected `maxTokens` to be an integer >= 1, got `0` (number)",
    );
    expect(() => model.stream({ messages, topP: 0 })).toThrow(RangeError);
    expect(() => model.stream({ messages: [] })).toThrow("at least one message");
    expect(() => model.stream({ messages: [{ role: "assistant", content: "hi" }] })).toThrow(
      "ends with a user or tool message",
    );
    // @ts-expect-error a spelling mistake
    expect(() => model.stream({ messages, maxToken: 3 })).toThrow("`maxToken`");
    // @ts-expect-error chat text must not be shown
    expect(() => model.stream({ messages: "秘密的话" })).toThrow(/got a string of 4 characters\.$/);
    // @ts-expect-error nor here
    expect(() => model.stream("秘密的话")).toThrow(/got a string of 4 characters\.$/);
  });
});

describe("aborting", () => {
  it("rejects with the signal's reason at every stage, and the next request works", async () => {
    const messages = [userMessage(greenCross, redCircle, "分别是什么？")];
    await expect(model.generate({ messages, signal: AbortSignal.abort("before") })).rejects.toBe(
      "before",
    );
    for (const deltas of [0, 1]) {
      const controller = new AbortController();
      const stream = model.stream({ messages, signal: controller.signal });
      const reading = (async () => {
        if (deltas === 0) controller.abort("early");
        for await (const part of stream) {
          if (part.type === "text-delta") controller.abort("late");
        }
      })();
      await expect(reading).rejects.toBe(deltas === 0 ? "early" : "late");
    }
    expect(await ask(redCircle, "图里有什么？")).toBe("图里有一个红色的圆形。");
  });

  it("frees the engine when the reader of a stream just leaves", async () => {
    for await (const part of model.stream({ messages: [userMessage(redCircle, "图里有什么？")] })) {
      if (part.type === "text-delta") break;
    }
    expect(await ask(redCircle, "图里有什么？")).toBe("图里有一个红色的圆形。");
  });

  it("lets a request leave the queue without disturbing the others", async () => {
    const messages = [userMessage(redCircle, "图里有什么？")];
    const controller = new AbortController();
    const answers = [
      model.generate({ messages }),
      model.generate({ messages, signal: controller.signal }),
      model.generate({ messages }),
    ];
    controller.abort("gone");
    const settled = await Promise.allSettled(answers);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });
});

describe("many chats", () => {
  it("get the answers they would get alone, at the same time", async () => {
    const pictures = await Promise.all(
      (["circle", "square", "star", "cross"] as const).map((shape) =>
        drawShapes([{ shape, color: "blue" }]),
      ),
    );
    const asked = pictures.map((picture) => ({ messages: [userMessage(picture, "图里有什么？")] }));
    const alone: string[] = [];
    for (const request of asked) alone.push((await model.generate(request)).text);
    const fresh = await loadTinyChat({ maxConcurrent: 4 });
    const together = await Promise.all(
      asked.map((request, index) => fresh.generate({ ...request, chat: `chat ${index}` })),
    );
    expect(together.map(({ text }) => text)).toEqual(alone);
    await fresh.dispose();
  });

  it("are told where they stand", async () => {
    const narrow = await loadTinyChat({ maxConcurrent: 1 });
    const messages = [userMessage("你好")];
    const positions: number[] = [];
    // The first one has its turn before the second asks, and goes on until that one knows where it stands.
    const isNext = new AbortController();
    await new Promise<void>((resolve, reject) => {
      const endless = narrow.generate({
        messages,
        responseFormat: { type: "regex", pattern: "a{3000}" },
        maxTokens: 3000,
        signal: isNext.signal,
        onQueue: (position) => position === 0 && resolve(),
      });
      endless.catch((error) => isNext.signal.aborted || reject(error));
    });
    const second = narrow.generate({
      messages,
      onQueue: (position) => {
        positions.push(position);
        isNext.abort("gone");
      },
    });
    expect((await second).text).not.toBe("");
    expect(positions).toEqual([1, 0]);
    const broken = narrow.generate({
      messages,
      onQueue: () => {
        throw new Error("a listener that fails");
      },
    });
    await expect(broken).rejects.toThrow("a listener that fails");
    expect((await narrow.generate({ messages })).text).not.toBe("");
    await narrow.dispose();
  });
});

describe("what was computed before", () => {
  const question = async (color: "red" | "green" = "red") => {
    const picture = await drawShapes([{ shape: "star", color }]);
    return { picture, message: userMessage(picture, "图里有什么？") };
  };

  it("is reused by a follow-up and by other chats, and gives the same answers", async () => {
    const [cached, plain] = [
      await loadTinyChat(),
      await loadTinyChat({ featureCacheBytes: 0, prefixCacheBytes: 0, speculation: false }),
    ];
    const { picture, message } = await question();
    const first = await cached.generate({ messages: [message], chat: "one" });
    expect(first.cache).toMatchObject({ visionMisses: 1, promptTokens: 0 });
    const messages = [
      message,
      { role: "assistant" as const, content: first.text },
      userMessage("它是什么颜色？"),
    ];
    const followUp = await cached.generate({ messages, chat: "one" });
    expect(followUp.cache).toMatchObject({ visionHits: 1, visionMisses: 0 });
    const answered = first.usage.promptTokens + first.usage.completionTokens;
    expect(followUp.cache.promptTokens).toBeGreaterThanOrEqual(answered - 1);
    const elsewhere = { messages: [userMessage("看，", picture, "图里有什么？")] };
    const other = await cached.generate(elsewhere);
    expect(other.cache).toMatchObject({ visionHits: 1, visionMisses: 0 });

    expect((await plain.generate({ messages })).text).toBe(followUp.text);
    const without = await plain.generate(elsewhere);
    expect(without.text).toBe(other.text);
    expect(without.cache).toMatchObject({ visionHits: 0, visionMisses: 1, promptTokens: 0 });
    await Promise.all([cached.dispose(), plain.dispose()]);
  });

  it("can be computed ahead of time", async () => {
    const warmed = await loadTinyChat();
    const { message } = await question("green");
    await warmed.warm({ messages: [message], chat: "one" });
    const { cache, usage, text } = await warmed.generate({ messages: [message], chat: "one" });
    expect(text).toBe("图里有一个绿色的星形。");
    expect(cache).toMatchObject({ imageHits: 1, visionHits: 1, visionMisses: 0 });
    expect(cache.promptTokens).toBe(usage.promptTokens - 1);
    await expect(
      warmed.warm({ messages: [message], signal: AbortSignal.abort("not needed") }),
    ).rejects.toBe("not needed");
    await warmed.dispose();
    await expect(warmed.warm({ messages: [message] })).rejects.toBeInstanceOf(DisposedError);
  });

  it("can be taken back, by picture and by chat", async () => {
    const forgetful = await loadTinyChat();
    const { picture, message } = await question();
    const ask = async () => {
      const request = { messages: [message], chat: "one", maxTokens: 1 };
      return (await forgetful.generate(request)).cache;
    };
    const fresh = await ask();
    expect(await ask()).toMatchObject({ imageHits: 1, visionHits: 1 });
    for (const what of [
      { images: [picture] },
      { images: [createHash("sha256").update(picture).digest("hex")] },
      { chat: "one" },
    ]) {
      expect((await forgetful.forget(what)).bytes).toBeGreaterThan(0);
      const again = await ask();
      expect(again).toMatchObject({ imageHits: 0, imageMisses: 1, visionMisses: 1 });
      // What stands in front of the picture is not the picture's.
      if (what.images === undefined) expect(again).toEqual(fresh);
      expect((await ask()).promptTokens).toBeGreaterThan(again.promptTokens ?? 0);
    }
    expect((await forgetful.forget({ chat: "nobody" })).bytes).toBe(0);
    await expect(forgetful.forget({ images: ["not a hash"] })).rejects.toThrow("`images[0]`");
    await forgetful.dispose();
  });
});

describe("the queue", () => {
  it("refuses requests beyond maxQueue and answers all others", async () => {
    const narrow = await loadTinyChat({ maxQueue: 1, maxConcurrent: 1 });
    const request = () => narrow.generate({ messages: [userMessage(redCircle, "图里有什么？")] });
    const settled = await Promise.allSettled([request(), request(), request()]);
    const refused = settled.filter((result) => result.status === "rejected");
    expect(refused).toHaveLength(1);
    expect(refused[0]?.reason).toBeInstanceOf(QueueFullError);
    await narrow.dispose();
  });
});

describe("many requests", () => {
  it("make Node warn of no leak", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on("warning", onWarning);
    const request = () => model.generate({ messages: [userMessage("你好")], maxTokens: 1 });
    await Promise.all(Array.from({ length: 16 }, request));
    await new Promise(setImmediate);
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });
});

describe("dispose", () => {
  it("ends a generation in progress, is idempotent, and refuses what comes later", async () => {
    const other = await loadTinyChat();
    const running = other.generate({ messages: [userMessage(redCircle, "图里有什么？")] });
    const waiting = other.generate({ messages: [userMessage("你好")] });
    const [, , first, second] = await Promise.allSettled([
      other.dispose(),
      other.dispose(),
      running,
      waiting,
    ]);
    expect(first).toMatchObject({ status: "rejected", reason: expect.any(DisposedError) });
    expect(second).toMatchObject({ status: "rejected", reason: expect.any(DisposedError) });
    expect(other.disposed).toBe(true);
    await expect(other.generate({ messages: [userMessage("你好")] })).rejects.toBeInstanceOf(
      DisposedError,
    );
  });

  it("works with `await using`", async () => {
    let kept: VisionLanguageModel;
    {
      await using scoped = await loadTinyChat();
      kept = scoped;
    }
    expect(kept.disposed).toBe(true);
  });
});

describe("a Thinking checkpoint", () => {
  it("keeps what it thinks apart from the answer", async () => {
    const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-thinking-"));
    await cp(TINY_CHAT_DIR, directory, { recursive: true });
    const file = join(directory, "chat_template.json");
    const { chat_template } = JSON.parse(await readFile(file, "utf8"));
    const opening = chat_template.replace("assistant\n'", "assistant\n<think>\n'");
    expect(opening).not.toBe(chat_template);
    await writeFile(file, JSON.stringify({ chat_template: opening }));

    const thinking = await loadQwen3Vl({ model: directory, onWarning: () => {} });
    expect(thinking.info.thinking).toBe(true);
    const result = await thinking.generate({
      messages: [userMessage(redCircle, "图里有什么？")],
      maxTokens: 12,
    });
    // The toy was never taught to end a thought: without `</think>` everything is one.
    expect(result.text).toBe("");
    expect(result.reasoning).not.toBe("");
    expect(result.usage.reasoningTokens).toBe(result.usage.completionTokens);
    await thinking.dispose();
    await rm(directory, { recursive: true, force: true });
  });
});

describe("loadQwen3Vl", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "napcat-vlm-load-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("converts a checkpoint once, and again when it has changed", async () => {
    const checkpoint = join(directory, "checkpoint");
    await cp(TINY_CHAT_DIR, checkpoint, { recursive: true });
    const conversions: number[] = [];
    const load = async () => {
      let converted = 0;
      const loaded = await loadQwen3Vl({
        model: checkpoint,
        precision: "fp32",
        onProgress: ({ type }) => {
          if (type === "convert") converted = 1;
        },
      });
      await loaded.dispose();
      conversions.push(converted);
    };
    await load();
    await load();
    await writeFile(
      join(checkpoint, "generation_config.json"),
      JSON.stringify({ do_sample: false, eos_token_id: [1666, 1664] }),
    );
    await load();
    expect(conversions).toEqual([1, 0, 1]);
  });

  it("stops at every token that generation_config.json names, not at the first alone", async () => {
    const checkpoint = await mkdtemp(join(directory, "stops-"));
    await cp(TINY_CHAT_DIR, checkpoint, { recursive: true });
    await writeFile(
      join(checkpoint, "generation_config.json"),
      JSON.stringify({ do_sample: false, eos_token_id: [1664, 1666] }),
    );
    const loaded = await loadQwen3Vl({ model: checkpoint, precision: "fp32" });
    const messages = [userMessage(redCircle, "图里有什么？")];
    // The model ends its answers with 1666.
    expect(await loaded.generate({ messages, maxTokens: 100 })).toMatchObject({
      finishReason: "stop",
      text: "图里有一个红色的圆形。",
    });
    await loaded.dispose();
  });

  it("says what is wrong with a model that is not there", async () => {
    await expect(loadQwen3Vl({ model: join(directory, "nowhere") })).rejects.toMatchObject({
      name: "ModelLoadError",
      code: "model-files-missing",
    });
    const empty = await mkdtemp(join(directory, "empty-"));
    const error = await loadQwen3Vl({ model: empty }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ModelLoadError);
    expect((error as ModelLoadError).missing).toEqual(
      expect.arrayContaining(["config.json", "tokenizer.json"]),
    );
  });

  it("refuses a package of another precision than asked for", async () => {
    await expect(loadTinyChat({ precision: "q4" })).rejects.toThrow(/fp32, not q4/);
  });

  it("refuses a device that is not there, saying what to do", async () => {
    await expect(loadTinyChat({ device: "cuda:0" })).rejects.toMatchObject({
      code: "device-unavailable",
    });
  });

  it("ends with the signal's reason", async () => {
    await expect(
      loadQwen3Vl({ model: tinyChatPackage(), signal: AbortSignal.abort("no") }),
    ).rejects.toBe("no");
    const controller = new AbortController();
    const loading = loadQwen3Vl({
      model: TINY_CHAT_DIR,
      packageDir: join(directory, "aborted"),
      signal: controller.signal,
      onProgress: () => controller.abort("stop"),
    });
    await expect(loading).rejects.toBe("stop");
  });

  it("does not wait for a graph to be loaded when it is aborted", async () => {
    const load = vi.spyOn(Session, "load");
    const controller = new AbortController();
    const loading = loadTinyChat({
      signal: controller.signal,
      onProgress: (progress) => {
        if (progress.type === "load" && progress.part === "decoder") controller.abort("stop");
      },
    });
    await expect(loading).rejects.toBe("stop");
    expect(load.mock.settledResults.at(-1)).toEqual({ type: "rejected", value: "stop" });
    load.mockRestore();
  });

  it("tells why loading failed, even when cleaning up fails too", async () => {
    const mocks = [
      vi.spyOn(Decoder.prototype, "createSlots").mockImplementation(() => {
        throw new Error("the first");
      }),
      vi.spyOn(VisionEncoder.prototype, "dispose").mockRejectedValue(new Error("the second")),
    ];
    await expect(loadTinyChat()).rejects.toThrow("the first");
    for (const mock of mocks) mock.mockRestore();
  });

  it("refuses wrong options by name", async () => {
    await expect(loadTinyChat({ maxContextTokens: 1_000_000 })).rejects.toThrow("maxContextTokens");
    await expect(loadTinyChat({ maxQueue: -1 })).rejects.toThrow("`maxQueue`");
    // @ts-expect-error a spelling mistake
    await expect(loadTinyChat({ maxTokens: 5 })).rejects.toThrow("Unknown option `maxTokens`");
  });
});
