// fallback: which of several models is asked, when it is left alone, and what is never done.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  DisposedError,
  ImageDecodeError,
  PromptTooLongError,
  QueueFullError,
  RemoteError,
} from "../../../src/vlm/errors.ts";
import { type FallbackEvent, fallback } from "../../../src/vlm/remote/index.ts";
import { type FakeAnswers, FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import type { StreamPart } from "../../../src/vlm/vision-language-model.ts";

const QUESTION = { messages: [{ role: "user" as const, content: "?" }] };

const fake = (name: string, answer: FakeAnswers, contextTokens = 4096) =>
  new FakeVisionLanguageModel({ answer, info: { name, contextTokens } });

const broken = () => new Error("broken");

async function* cutAfter(text: string): AsyncGenerator<StreamPart> {
  yield { type: "text-delta", text };
  throw broken();
}

/** An answer that waits until it is let go. */
function held() {
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const answer = async () => {
    await gate;
    return "好。";
  };
  return { answer, release };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("fallback", () => {
  it("asks the first, and the next one where that fails before its first word", async () => {
    const events: FallbackEvent[] = [];
    const a = fake("a", [broken(), "一"]);
    const b = fake("b", "二");
    const model = fallback([a, b], {
      coolDownMs: 1000,
      onFallback: (event) => {
        events.push(event);
        throw new Error("a listener");
      },
    });
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "二" });
    expect(events).toMatchObject([
      { from: { name: "a" }, to: { name: "b" }, error: { message: "broken" } },
    ]);
    expect(b.requests[0]?.messages).toEqual(QUESTION.messages);
  });

  it("never gives a second answer once the first has begun", async () => {
    const b = fake("b", "二");
    const model = fallback([fake("a", () => cutAfter("一")), b]);
    const parts: StreamPart[] = [];
    const reading = async () => {
      for await (const part of model.stream(QUESTION)) parts.push(part);
    };
    await expect(reading()).rejects.toThrow("broken");
    expect(parts).toEqual([{ type: "text-delta", text: "一" }]);
    expect(b.requests).toEqual([]);
  });

  it("leaves a model alone after a failure, then tries it with one request", async () => {
    const gate = held();
    const a = fake("a", (_request, index) => (index === 0 ? broken() : gate.answer()));
    const b = fake("b", "二");
    const model = fallback([a, b], { coolDownMs: 1000 });
    await model.generate(QUESTION);
    await model.generate(QUESTION);
    expect([a.requests.length, b.requests.length]).toEqual([1, 2]);
    vi.advanceTimersByTime(1001);
    const trial = model.generate(QUESTION);
    await vi.waitFor(() => expect(a.requests).toHaveLength(2), 60_000);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "二" });
    gate.release();
    await trial;
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "好。" });
    expect(a.requests).toHaveLength(3);
  });

  it("leaves a server alone for as long as it wants", async () => {
    const busy = new RemoteError("remote-busy", "busy", { host: "a", retryAfterMs: 5000 });
    const a = fake("a", [busy, "一"]);
    const model = fallback([a, fake("b", "二")], { coolDownMs: 1000 });
    await model.generate(QUESTION);
    vi.advanceTimersByTime(4000);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "二" });
    vi.advanceTimersByTime(1001);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "一" });
  });

  it("passes over a model that has enough to do, while another has room", async () => {
    const gate = held();
    const a = fake("a", gate.answer);
    const b = fake("b", "二");
    const model = fallback([
      { model: a, maxRequests: 1 },
      { model: b, maxRequests: 1 },
    ]);
    const first = model.generate(QUESTION);
    await vi.waitFor(() => expect(a.requests).toHaveLength(1), 60_000);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "二" });
    gate.release();
    await expect(first).resolves.toMatchObject({ text: "好。" });
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "好。" });
  });

  it("gives a request to the least busy where none has room", async () => {
    const gate = held();
    const a = fake("a", gate.answer);
    const b = fake("b", gate.answer);
    const model = fallback([
      { model: a, maxRequests: 1 },
      { model: b, maxRequests: 2 },
    ]);
    const all = Array.from({ length: 4 }, () => model.generate(QUESTION));
    await vi.waitFor(() => expect(a.requests.length + b.requests.length).toBe(4), 60_000);
    expect([a.requests.length, b.requests.length]).toEqual([2, 2]);
    gate.release();
    await Promise.all(all);
  });

  it.each([
    ["a full queue", new QueueFullError(3, 3)],
    ["a prompt that is too long there", new PromptTooLongError(9000, 4096)],
    ["a refusal", new RemoteError("remote-refused", "no", { host: "a" })],
  ])("asks the next one and holds nothing against the first: %s", async (_what, error) => {
    const a = fake("a", [error, "一"]);
    const model = fallback([a, fake("b", "二")]);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "二" });
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "一" });
  });

  it("throws at once what no model would take", async () => {
    const bad = new ImageDecodeError("image-corrupt", "bad", { imageIndex: 0 });
    const b = fake("b", "二");
    const model = fallback([fake("a", bad), b]);
    await expect(model.generate(QUESTION)).rejects.toBe(bad);
    expect(() => model.stream({ ...QUESTION, maxTokens: -1 })).toThrow(RangeError);
    expect(b.requests).toEqual([]);
  });

  it("throws the first error where all fail, and asks those that rest before it gives up", async () => {
    const first = broken();
    const a = fake("a", [first, "一"]);
    const b = fake("b", [new Error("worse"), new Error("worse")]);
    const model = fallback([a, b], { coolDownMs: 1000 });
    await expect(model.generate(QUESTION)).rejects.toBe(first);
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "一" });
  });

  it("asks the next one where nothing comes for too long, and ends the first", async () => {
    const a = fake("a", () => new Promise<never>(() => {}));
    const model = fallback([a, fake("b", "二")], { firstPartTimeoutMs: 500 });
    const answer = model.generate(QUESTION);
    await vi.waitFor(() => expect(a.requests).toHaveLength(1), 60_000);
    vi.advanceTimersByTime(501);
    await expect(answer).resolves.toMatchObject({ text: "二" });
    expect(a.requests[0]?.signal?.aborted).toBe(true);
  });

  it("passes an abort on, asks nobody else, and holds it against no one", async () => {
    const gate = held();
    const a = fake("a", gate.answer);
    const b = fake("b", "二");
    const model = fallback([a, b]);
    const controller = new AbortController();
    const answer = model.generate({ ...QUESTION, signal: controller.signal });
    const rejected = expect(answer).rejects.toBe("enough");
    await vi.waitFor(() => expect(a.requests).toHaveLength(1), 60_000);
    controller.abort("enough");
    await rejected;
    gate.release();
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "好。" });
    expect(b.requests).toEqual([]);
  });

  it("is called what would be asked next, and takes what fits everywhere", async () => {
    const model = fallback([fake("a", [broken()], 8192), fake("b", "二", 4096)]);
    expect(model.info).toMatchObject({ name: "a", contextTokens: 4096 });
    await model.generate(QUESTION);
    expect(model.info).toMatchObject({ name: "b", contextTokens: 4096 });
  });

  it("is well while one of them is", async () => {
    const reloading = { state: "reloading", losses: 1, reason: "lost", nextAttemptMs: 0 } as const;
    const a = Object.assign(fake("a", "一"), { health: () => reloading });
    const b = fake("b", "二");
    const model = fallback([a, b]);
    expect(model.health?.()).toMatchObject({ state: "ready" });
    await b.dispose();
    expect(model.health?.()).toEqual(reloading);
    await model.dispose();
    expect(model.health?.()).toEqual({ state: "disposed" });
  });

  it("lets the one that would be asked compute ahead, and all of them forget", async () => {
    const a = Object.assign(fake("a", "一"), {
      warm: vi.fn(async () => {}),
      forget: vi.fn(async () => ({ bytes: 3 })),
    });
    const b = Object.assign(fake("b", "二"), { forget: vi.fn(async () => ({ bytes: 4 })) });
    const model = fallback([a, b, fake("c", "三")]);
    await model.warm?.(QUESTION);
    expect(a.warm).toHaveBeenCalledWith(QUESTION);
    await expect(model.forget?.({ chat: "group:1" })).resolves.toEqual({ bytes: 7 });
    expect(b.forget).toHaveBeenCalledWith({ chat: "group:1" });
  });

  it("goes on with what is not disposed, and disposes of all", async () => {
    const a = fake("a", "一");
    const b = fake("b", "二");
    const model = fallback([a, b]);
    await a.dispose();
    await expect(model.generate(QUESTION)).resolves.toMatchObject({ text: "二" });
    await model.dispose();
    expect([model.disposed, b.disposed]).toEqual([true, true]);
    await expect(model.generate(QUESTION)).rejects.toBeInstanceOf(DisposedError);
  });

  it.each([
    [[], {}, "at least one model"],
    [[{}], {}, "a VisionLanguageModel"],
    [[{ model: fake("a", "一"), maxRequests: 0 }], {}, "an integer >= 1"],
    [[fake("a", "一")], { coolDownMs: -1 }, "coolDownMs"],
    [[fake("a", "一")], { wrong: 1 }, "Unknown option `wrong` of fallback"],
  ])("refuses what is none of its options (%#)", (members, options, message) => {
    expect(() => fallback(members as never, options as never)).toThrow(message);
  });

  it("decides by one that can, and by the next where that fails; without any it has no decide", async () => {
    const able = (probability: number | Error) =>
      new FakeVisionLanguageModel({
        decision: () => {
          if (probability instanceof Error) throw probability;
          return { type: "yes-no", yes: true, probability };
        },
      });
    const questions = [{ type: "yes-no", question: "?" }] as const;
    const [mute, failing, good] = [fake("mute", "一"), able(broken()), able(0.9)];
    const model = fallback([mute, failing, good]);
    const { decisions } = (await model.decide?.({ ...QUESTION, questions })) ?? {};
    expect(decisions?.[0]).toEqual({ type: "yes-no", yes: true, probability: 0.9 });
    expect(failing.decideRequests).toHaveLength(1);
    expect(mute.requests).toEqual([]);
    expect(fallback([mute]).decide).toBeUndefined();
    await expect(fallback([failing]).decide?.({ ...QUESTION, questions })).rejects.toThrow(
      "broken",
    );
  });
});
