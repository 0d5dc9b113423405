import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Responder } from "../../src/bot/chat/responder.ts";
import { type DebugServer, startDebugServer } from "../../src/bot/debug-http/server.ts";
import { loadQwen3Vl, type VisionLanguageModel } from "../../src/vlm/index.ts";
import { drawShapes } from "../support/draw.ts";
import { launchChromium } from "./chromium.ts";

const TINY_CHAT = fileURLToPath(new URL("../../examples/tiny-chat", import.meta.url));

let browser: Browser;
let directory: string;
let model: VisionLanguageModel;
let server: DebugServer;

beforeAll(async () => {
  browser = await launchChromium();
  directory = await mkdtemp(join(tmpdir(), "napcat-vlm-tiny-"));
  await cp(TINY_CHAT, join(directory, "tiny-chat"), { recursive: true });
  model = await loadQwen3Vl({
    model: join(directory, "tiny-chat"),
    packageDir: join(directory, "package"),
  });
  server = await startDebugServer({
    responder: new Responder({ model }),
    model,
    port: 0,
  });
});
afterAll(async () => {
  await server?.close();
  await model?.dispose();
  await browser?.close();
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
});

describe("the chat page with the tiny chat model", () => {
  it("answers about a picture, and has forgotten what was computed of it when the chat is cleared", async () => {
    const page = await browser.newPage({ locale: "zh-CN", viewport: { width: 900, height: 760 } });
    await page.goto(server.url);
    const buffer = await drawShapes([{ shape: "circle", color: "red" }], { format: "webp" });
    const ask = async () => {
      await page.locator("#files").setInputFiles({ name: "a", mimeType: "image/webp", buffer });
      await page.locator("#text").fill("图里有什么？");
      await page.locator("#text").press("Enter");
    };
    await ask();
    await page.locator(".bot .facts", { hasText: "图片缓存命中 0/1" }).waitFor();
    expect(await page.locator(".bot .bubble").textContent()).toContain("红色的圆形");

    await page.getByRole("button", { name: "清空对话" }).click();
    await page.getByRole("heading", { name: "发一张图" }).waitFor();
    await ask();
    await page.locator(".bot .facts", { hasText: "图片缓存命中 0/1" }).waitFor();
    const path = join(tmpdir(), "napcat-vlm-tiny-chat.png");
    await page.screenshot({ path });
    console.info(`Screenshot: ${path}`);
  });
});
