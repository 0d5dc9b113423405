// The tools of an MCP server, through the official SDK: its client, its server, and what they say to each other.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  type BotTool,
  installVlm,
  type McpToolsOptions,
  mcpTools,
} from "../../../src/bot/index.ts";
import { FakeNapCat, privateMessage } from "../../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG } from "../../support/events.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function connect() {
  const server = new McpServer({ name: "test", version: "1.0.0" });
  const aborted: string[] = [];
  server.registerTool(
    "weather.today",
    { description: "Tells the weather.", inputSchema: { city: z.string() } },
    async ({ city }) => ({
      content: [
        { type: "text", text: `${city}：晴` },
        { type: "image", data: Buffer.from(PIXEL_PNG).toString("base64"), mimeType: "image/png" },
        { type: "resource", resource: { uri: "file:///a", text: "附件" } },
        { type: "audio", data: "AA==", mimeType: "audio/wav" },
      ],
    }),
  );
  server.registerTool("fails", {}, async () => ({
    content: [{ type: "text", text: "no such city" }],
    isError: true,
  }));
  server.registerTool("hangs", {}, async ({ signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    aborted.push("hangs");
    return { content: [] };
  });
  server.registerTool("structured", { outputSchema: { sky: z.string() } }, async () => ({
    content: [],
    structuredContent: { sky: "晴" },
  }));
  const [ours, theirs] = InMemoryTransport.createLinkedPair();
  const client = new Client({ name: "bot", version: "1.0.0" });
  await Promise.all([server.connect(theirs), client.connect(ours)]);
  closing.push(
    () => client.close(),
    () => server.close(),
  );
  return { client, aborted };
}

/** What the model is told when it calls a tool. */
async function resultOf(client: Client, name: string, options: McpToolsOptions = {}) {
  const model = new FakeVisionLanguageModel({
    answer: [{ toolCalls: [{ name, arguments: { city: "北京" } }] }, "好。"],
  });
  const napcat = new FakeNapCat();
  const bot = installVlm(napcat, {
    model,
    tools: await mcpTools(client, options),
    merge: { windowMs: 0 },
    reply: { gapMs: 0, jitterMs: 0 },
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  napcat.receive(privateMessage({ text: "?" }));
  await bot.idle();
  await bot.close();
  return model.requests[1]?.messages.at(-1);
}

describe("mcpTools", () => {
  it("lists what the server has, under names that models know, with what may be said of all", async () => {
    const { client } = await connect();
    const tools = await mcpTools(client, { only: ["weather.today"], prefix: "w_", needs: "admin" });
    expect(tools).toMatchObject([
      {
        name: "w_weather_today",
        description: "Tells the weather.",
        needs: "admin",
        inputSchema: { type: "object", properties: { city: { type: "string" } } },
      },
    ] satisfies Partial<BotTool>[]);
    expect((await mcpTools(client)).map(({ name }) => name)).toEqual([
      "weather_today",
      "fails",
      "hangs",
      "structured",
    ]);
    await expect(mcpTools(client, { only: ["nothing"] })).rejects.toThrow("no tool nothing");
  });

  it("calls one and shows the model texts and pictures", async () => {
    const { client } = await connect();
    expect(await resultOf(client, "weather_today")).toEqual({
      role: "tool",
      content: [
        { type: "text", text: "北京：晴" },
        { type: "image", data: Buffer.from(PIXEL_PNG) },
        { type: "text", text: "附件" },
        { type: "text", text: "(content of the kind audio, which cannot be shown)" },
      ],
    });
    expect(await resultOf(client, "structured")).toMatchObject({
      content: [{ type: "text", text: '{"sky":"晴"}' }],
    });
  });

  it("tells the model what failed, and the server that nobody waits any more", async () => {
    const { client, aborted } = await connect();
    expect(await resultOf(client, "fails")).toMatchObject({
      content: [{ text: '{"error":"no such city"}' }],
    });
    expect(await resultOf(client, "hangs", { timeoutMs: 50 })).toMatchObject({
      content: [{ text: '{"error":"The tool took too long."}' }],
    });
    await expect.poll(() => aborted).toEqual(["hangs"]);
  });

  it("says in the SDK's own words when the server is gone", async () => {
    const { client } = await connect();
    const [tool] = await mcpTools(client);
    await client.close();
    const context = { signal: new AbortController().signal } as Parameters<BotTool["execute"]>[1];
    await expect(Promise.resolve(tool?.execute({ city: "北京" }, context))).rejects.toThrow();
    closing.splice(0, 1);
  });
});
