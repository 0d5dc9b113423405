import { describe, expect, it } from "vitest";
import { DisposedError } from "../../src/vlm/errors.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import type { StreamPart } from "../../src/vlm/vision-language-model.ts";

const ask = { messages: [{ role: "user" as const, content: "你好" }] };

describe("FakeVisionLanguageModel", () => {
  it("streams its answer in deltas and ends with a finish part", async () => {
    const model = new FakeVisionLanguageModel({
      answer: { text: "一只橘色的猫。", reasoning: "嗯" },
    });
    const parts: StreamPart[] = [];
    for await (const part of model.stream(ask)) parts.push(part);
    expect(parts.map((part) => part.type)).toEqual([
      "reasoning-delta",
      "text-delta",
      "text-delta",
      "finish",
    ]);
    const result = await model.generate(ask);
    expect(result).toMatchObject({ text: "一只橘色的猫。", reasoning: "嗯", finishReason: "stop" });
    expect(model.requests).toEqual([ask, ask]);
  });

  it("never cuts a character in two", async () => {
    const model = new FakeVisionLanguageModel({ answer: "😀😀😀😀😀" });
    for await (const part of model.stream(ask)) {
      if (part.type === "text-delta") expect(part.text.isWellFormed()).toBe(true);
    }
  });

  it("gives the answers of a list in order and says when it has run out", async () => {
    const model = new FakeVisionLanguageModel({ answer: ["one", new Error("two fails")] });
    expect((await model.generate(ask)).text).toBe("one");
    await expect(model.generate(ask)).rejects.toThrow("two fails");
    await expect(model.generate(ask)).rejects.toThrow("asked for answer 3");
  });

  it("ends with the signal's reason, even while its script hangs", async () => {
    const model = new FakeVisionLanguageModel({ answer: () => new Promise<string>(() => {}) });
    const controller = new AbortController();
    const answer = model.generate({ ...ask, signal: controller.signal });
    controller.abort("enough");
    await expect(answer).rejects.toBe("enough");
  });

  it("ends running requests when it is disposed and refuses new ones", async () => {
    const model = new FakeVisionLanguageModel({ answer: () => new Promise<string>(() => {}) });
    const answer = model.generate(ask);
    await model.dispose();
    await model.dispose();
    await expect(answer).rejects.toBeInstanceOf(DisposedError);
    await expect(model.generate(ask)).rejects.toBeInstanceOf(DisposedError);
    expect(model.disposed).toBe(true);
  });
});
