// openAiVlm and our own door, back to back: the tiny chat model, asked here and over HTTP.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Responder } from "../../../src/bot/chat/responder.ts";
import { type DebugServer, startDebugServer } from "../../../src/bot/debug-http/server.ts";
import type { Qwen3VlModel } from "../../../src/vlm/qwen3-vl.ts";
import { type OpenAiVlm, openAiVlm } from "../../../src/vlm/remote/index.ts";
import { drawShapes } from "../../support/draw.ts";
import { loadTinyChat, userMessage } from "../../support/tiny-chat.ts";

const TOKEN = "a-token-of-some-length";

let here: Qwen3VlModel;
let server: DebugServer;
let there: OpenAiVlm;

beforeAll(async () => {
  here = await loadTinyChat();
  const responder = new Responder({ model: here });
  server = await startDebugServer({ responder, model: here, port: 0, token: TOKEN });
  there = openAiVlm({ baseURL: `${server.url}/v1`, apiKey: TOKEN, retries: 0 });
});

afterAll(async () => {
  await there.dispose();
  await server.close();
  await here.dispose();
});

const greedy = { temperature: 0, maxTokens: 30 };

describe("our own door", () => {
  it("gives the same answer about a picture, whichever way one asks", async () => {
    const redCircle = await drawShapes([{ shape: "circle", color: "red" }]);
    const messages = [userMessage(redCircle, "图里有什么？")];
    const direct = await here.generate({ ...greedy, messages });
    const remote = await there.generate({ ...greedy, messages });
    expect(direct.text).not.toBe("");
    expect(remote.text).toBe(direct.text);
    expect(remote.finishReason).toBe(direct.finishReason);
    expect(remote.usage).toMatchObject({
      promptTokens: direct.usage.promptTokens,
      completionTokens: direct.usage.completionTokens,
    });
    expect(remote.cache.promptTokens).toBeGreaterThan(0);
  });

  it("streams in pieces, keeps what is random by its seed, and calls the tool that it must", async () => {
    const messages = [userMessage("你好")];
    const sampled = { messages, temperature: 1, seed: 7, maxTokens: 12 };
    const direct = await here.generate(sampled);
    let text = "";
    for await (const part of there.stream(sampled)) {
      if (part.type === "text-delta") text += part.text;
    }
    expect(text).toBe(direct.text);
    const tools = [{ type: "function", function: { name: "look", parameters: {} } }];
    const forced = { ...greedy, messages, tools, toolChoice: { name: "look" } };
    const called = await there.generate(forced);
    const expected = await here.generate(forced);
    expect(called.toolCalls).toEqual(expected.toolCalls);
    expect(called.finishReason).toBe(expected.finishReason);
  });

  it("says what it serves, and who may not ask", async () => {
    await expect(there.ping()).resolves.toEqual({ up: true, models: [here.info.name] });
    const stranger = openAiVlm({ baseURL: `${server.url}/v1`, apiKey: "wrong", retries: 0 });
    const asked = stranger.generate({ messages: [userMessage("?")] });
    await expect(asked).rejects.toMatchObject({ code: "remote-unauthorized", status: 401 });
    await expect(stranger.ping()).resolves.toMatchObject({
      up: false,
      error: { code: "remote-unauthorized" },
    });
    await stranger.dispose();
  });

  it("says when a prompt is too long, in the seam's own words", async () => {
    const messages = [userMessage("长".repeat(20_000))];
    await expect(there.generate({ messages })).rejects.toMatchObject({ code: "prompt-too-long" });
  });
});
