// Several answers to one question, through the real client of OpenAI: over a model that answers from a script, and over
// the tiny chat model, which computes their prompt once.

import { afterEach, describe, expect, it } from "vitest";
import { Responder } from "../../../src/bot/chat/responder.ts";
import { startDebugServer } from "../../../src/bot/debug-http/server.ts";
import type {
  FinishPart,
  GenerateRequest,
  VisionLanguageModel,
} from "../../../src/vlm/vision-language-model.ts";
import { closeDoors, errorOf, openDoor, question } from "../../support/open-ai-door.ts";
import { loadTinyChat } from "../../support/tiny-chat.ts";

afterEach(closeDoors);

const LOOK = { type: "function" as const, function: { name: "look", parameters: {} } };
/** Each has one token for every four characters, and its prompt one for each message. */
const ANSWERS = [
  { text: "第一个，长一点的回答。", reasoning: "想一想" },
  { text: "第二个。" },
  { toolCalls: [{ name: "look", arguments: { at: 3 } }] },
];
const MESSAGES = [
  { content: ANSWERS[0]?.text, reasoning_content: ANSWERS[0]?.reasoning },
  { content: "第二个。" },
  { content: null, tool_calls: [{ function: { name: "look", arguments: '{"at":3}' } }] },
];
const USAGE = {
  prompt_tokens: 1,
  completion_tokens: 3 + 1 + 1,
  total_tokens: 6,
  completion_tokens_details: { reasoning_tokens: 1 },
};

describe("several answers to one question", () => {
  it("come in one body, each with its number; the prompt counts once", async () => {
    const { client, model } = await openDoor({ answer: ANSWERS });
    const asked = { ...question, n: 3, seed: 5, tools: [LOOK] };
    const { choices, usage } = await client.chat.completions.create(asked);
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(choices.map(({ message }) => message)).toMatchObject(MESSAGES);
    expect(choices.map((choice) => choice.finish_reason)).toEqual(["stop", "stop", "tool_calls"]);
    expect(usage).toMatchObject(USAGE);
    expect(model.requests.map(({ seed }) => seed)).toEqual([5, 6, 7]);
    // One question is one chat's, or it would take the turns of others.
    const chats = new Set(model.requests.map(({ chat }) => chat));
    expect([...chats]).toEqual([expect.stringMatching(/^chatcmpl-/u)]);
  });

  it("stream side by side, each piece with its number, the usage of all behind them", async () => {
    const { client } = await openDoor({ answer: ANSWERS });
    const asked = { ...question, n: 3, tools: [LOOK], stream_options: { include_usage: true } };
    const stream = client.chat.completions.stream(asked);
    const order: number[] = [];
    for await (const { choices } of stream) order.push(...choices.map(({ index }) => index));
    const completion = await stream.finalChatCompletion();
    expect(completion.choices.map(({ message }) => message)).toMatchObject(MESSAGES);
    expect(completion.usage).toMatchObject(USAGE);
    expect(order.slice(0, 3)).toEqual([0, 1, 2]);
    // The first one, which is long, does not keep the others waiting.
    expect(order.lastIndexOf(0)).toBeGreaterThan(order.lastIndexOf(1));
  });

  it.each([false, true])("fail together, and end together (streaming: %s)", async (stream) => {
    const aborted: unknown[] = [];
    const answer = ({ signal, seed }: GenerateRequest) => {
      if (seed === 2) return new Error("CANARY");
      return new Promise<string>((resolve) => {
        signal?.addEventListener("abort", () => {
          aborted.push(signal.reason);
          resolve("");
        });
      });
    };
    const { post } = await openDoor({ answer }, { onError: () => {} });
    const response = await post({ ...question, n: 3, seed: 1, stream });
    expect(await errorOf(response)).toMatchObject({ status: 500, code: "internal" });
    expect(aborted).toHaveLength(2);
  });

  it("end together when their client leaves", async () => {
    const ended: Promise<void>[] = [];
    let begun = () => {};
    const all = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const answer = async ({ signal }: GenerateRequest) => {
      const left = new Promise<void>((resolve) => {
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
      if (ended.push(left) === 4) begun();
      await left;
      return "";
    };
    const { server } = await openDoor({ answer });
    const leaving = new AbortController();
    const response = fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...question, n: 4, stream: true }),
      signal: leaving.signal,
    });
    await all;
    leaving.abort();
    await expect(response).rejects.toThrow();
    await Promise.all(ended);
  });

  it("share what is computed of their prompt", async () => {
    const here = await loadTinyChat({ maxConcurrent: 4 });
    const finishes: FinishPart[] = [];
    const model: VisionLanguageModel = {
      info: here.info,
      disposed: false,
      dispose: () => here.dispose(),
      [Symbol.asyncDispose]: () => here.dispose(),
      generate: (request) => here.generate(request),
      async *stream(request) {
        for await (const part of here.stream(request)) {
          if (part.type === "finish") finishes.push(part);
          yield part;
        }
      },
    };
    const server = await startDebugServer({ responder: new Responder({ model }), model, port: 0 });
    try {
      const content = "红色的圆形和蓝色的方形，".repeat(30);
      const messages = [{ role: "user", content }];
      const body = { messages, n: 4, seed: 9, temperature: 1.2, max_tokens: 12, stream: true };
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        body: JSON.stringify({ ...body, stream_options: { include_usage: true } }),
      });
      const events = (await response.text()).trim().split("\n\n");
      expect(events.pop()).toBe("data: [DONE]");
      const { usage } = JSON.parse((events.pop() ?? "").replace(/^data: /u, ""));
      const prompt = finishes[0]?.usage.promptTokens ?? 0;
      expect(prompt).toBeGreaterThan(100);
      const written = finishes.map((part) => part.usage.completionTokens);
      expect(usage).toMatchObject({
        prompt_tokens: prompt,
        completion_tokens: written.reduce((sum, tokens) => sum + tokens, 0),
        prompt_tokens_details: { cached_tokens: 0 },
      });
      const computed = finishes.map(({ cache }) => prompt - (cache.promptTokens ?? 0));
      // One of them all of it, the others the last block and what their turn began before it was there.
      expect(computed.toSorted((a, b) => b - a)[0]).toBe(prompt);
      expect(computed.filter((tokens) => tokens <= 64)).toHaveLength(3);
    } finally {
      await server.close();
      await here.dispose();
    }
  });
});
