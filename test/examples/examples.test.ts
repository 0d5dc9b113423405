// Every example runs, as its reader would run it: a process of its own, the tiny chat model, a NapCat of this suite's.

import { once } from "node:events";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createVision } from "../../examples/other-framework.ts";
import { groupMessage } from "../../src/bot/testing.ts";
import { bundleChild, type Child } from "../support/child-process.ts";
import { drawShapes } from "../support/draw.ts";
import { startNapCatServer } from "../support/napcat-server.ts";
import { Running } from "../support/running.ts";
import { loadTinyChat, tinyChatPackage } from "../support/tiny-chat.ts";

const ANSWER = "图里有一个红色的圆形。";
let directory: string;
let redCircle: Buffer;
let picture: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "napcat-vlm-examples-"));
  redCircle = await drawShapes([{ shape: "circle", color: "red" }]);
  picture = join(directory, "photo.png");
  await writeFile(picture, redCircle);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function withExample<T>(name: string, use: (child: Child) => Promise<T>): Promise<T> {
  const child = await bundleChild(new URL(`../../examples/${name}.ts`, import.meta.url));
  try {
    return await use(child);
  } finally {
    await child.remove();
  }
}

describe("examples", () => {
  it.each(["napcat-bot", "own-websocket"])("%s answers in a group and ends with Ctrl-C", (name) =>
    withExample(name, async ({ script }) => {
      const server = await startNapCatServer({ token: "a b#1" });
      const bot = new Running(script, [], {
        VLM_MODEL: tinyChatPackage(),
        NAPCAT_URL: server.url,
        NAPCAT_TOKEN: "a b#1",
      });
      await server.until(() => server.tokens.length > 0);
      if (name === "napcat-bot") await bot.printed(/看图猫 已上线/);
      const question = groupMessage({
        text: "图里有什么？",
        mentionsBot: true,
        images: [redCircle],
      });
      server.push(question);
      const [sent] = await server.received("send_group_msg");
      expect(JSON.stringify(sent)).toContain(ANSWER);
      bot.process.kill("SIGINT");
      expect(await bot.ended()).toMatchObject({ code: 0, signal: null });
      await server.close();
    }),
  );

  it("reverse-websocket answers whoever connects with the token, and the next one after that", () =>
    withExample("reverse-websocket", async ({ script }) => {
      const bot = new Running(script, [], {
        VLM_MODEL: tinyChatPackage(),
        ONEBOT_TOKEN: "hush",
        PORT: "0",
      });
      const [, port] = await bot.printed(/port: (\d+)/);
      const connect = (token: string) =>
        new WebSocket(`ws://127.0.0.1:${port}`, { headers: { Authorization: `Bearer ${token}` } });
      const [refusal] = await once(connect("guess"), "error");
      expect(refusal.message).toContain("401");
      for (const words of ["图里有什么？", "图里有什么"]) {
        const onebot = connect("hush");
        await once(onebot, "open");
        const question = groupMessage({ text: words, mentionsBot: true, images: [redCircle] });
        onebot.send("no JSON");
        onebot.send(JSON.stringify(question));
        const [data] = await once(onebot, "message");
        const { action, params, echo } = JSON.parse(String(data));
        expect(action).toBe("send_group_msg");
        expect(JSON.stringify(params)).toContain(ANSWER);
        onebot.send(JSON.stringify({ status: "ok", retcode: 0, data: { message_id: 1 }, echo }));
        onebot.terminate();
      }
      bot.process.kill("SIGINT");
      expect(await bot.ended()).toMatchObject({ code: 0, signal: null });
    }));

  it.each([
    ["vlm-only", `${ANSWER}\n`],
    ["streaming", `${ANSWER}\n`],
    ["ai-sdk", `${ANSWER}\n`],
    ["elsewhere", `${ANSWER}\n`],
  ])("%s prints the answer", (name, expected) =>
    withExample(name, async ({ script }) => {
      const { code, output } = await new Running(script, [picture], {
        VLM_MODEL: tinyChatPackage(),
      }).ended();
      expect(output).toContain(expected);
      expect(code).toBe(0);
    }),
  );

  it("data-and-decisions prints a value and what was decided", () =>
    withExample("data-and-decisions", async ({ script }) => {
      const { code, output } = await new Running(script, [picture], {
        VLM_MODEL: tinyChatPackage(),
      }).ended();
      expect(output).toMatch(/^(photo|drawing|screenshot) \[/mu);
      expect(output).toMatch(/^(有人|没有人) [\d.e-]+$/mu);
      expect(output).toMatch(/^红色 [\d.e-]+$/mu);
      expect(output).toMatch(/^\d [\d.]+$/mu);
      expect(output).toMatch(/left: [\d.]+/u);
      expect(code).toBe(0);
    }));

  it("ai-sdk-short answers and ends by itself", () =>
    withExample("ai-sdk-short", async ({ script }) => {
      const env = { VLM_MODEL: tinyChatPackage() };
      const { code, output } = await new Running(script, [], env).ended();
      expect(output.trim()).not.toBe("");
      expect(code).toBe(0);
    }));

  it("tools offers its own and those of an MCP server", () =>
    withExample("tools", async ({ script }) => {
      const server = await startNapCatServer();
      const mcp = fileURLToPath(new URL("../support/mcp-server.js", import.meta.url));
      const bot = new Running(script, [process.execPath, mcp], {
        VLM_MODEL: tinyChatPackage(),
        NAPCAT_URL: server.url,
      });
      await bot.printed(/工具：clock、weather/);
      bot.process.kill("SIGINT");
      expect(await bot.ended()).toMatchObject({ code: 0, signal: null });
      await server.close();
    }));

  it("debug-page opens a page and answers over HTTP", () =>
    withExample("debug-page", async ({ script }) => {
      // The page's files lie beside the code that serves them; the bundle has it at its top.
      const pageFiles = new URL("../../src/bot/debug-http/page", import.meta.url);
      await cp(pageFiles, join(dirname(script), "page"), { recursive: true });
      const page = new Running(script, [], { VLM_MODEL: tinyChatPackage(), PORT: "0" });
      const [url] = await page.printed(/http:\/\/127\.0\.0\.1:\d+/);
      const response = await fetch(`${url}/api/chat/private`, {
        method: "POST",
        body: JSON.stringify({
          type: "private",
          user_id: "10001",
          user_nickname: "张三",
          content: "图里有什么？",
          images: [{ data: redCircle.toString("base64"), format: "png" }],
          timestamp: Date.now() / 1000,
        }),
      });
      expect(await response.json()).toEqual({ status: "success", reply: ANSWER });
      page.process.kill("SIGINT");
      expect(await page.ended()).toMatchObject({ code: 0, signal: null });
    }));

  it("other-framework answers, remembers, and survives a bad picture", async () => {
    await using model = await loadTinyChat();
    const answer = createVision(model);
    const ask = async (text: string, ...images: Uint8Array[]) => {
      const replies: string[] = [];
      const reply = async (said: string) => replies.push(said);
      await answer({ chatId: "room", text, images, reply });
      return replies;
    };
    expect(await ask("图里有什么？", redCircle)).toEqual([ANSWER]);
    expect(await ask("它是什么颜色？")).toEqual(["红色。"]);
    expect(await ask("这个呢？", Buffer.from("nothing"))).toEqual(["这张图我看不了。"]);
    expect(await ask("它是什么颜色？")).toEqual(["红色。"]);
  });
});
