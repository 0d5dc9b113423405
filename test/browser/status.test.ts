// The status page in a real browser: what a bot does now, looked at live, wide and narrow, light and dark.

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Responder } from "../../src/bot/chat/responder.ts";
import { startDebugServer } from "../../src/bot/debug-http/server.ts";
import { installVlm } from "../../src/bot/install-vlm.ts";
import { FakeNapCat, groupMessage } from "../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { RecordingLogger } from "../support/recording-logger.ts";
import { launchChromium } from "./chromium.ts";

let browser: Browser;
let screenshots: string;
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  browser = await launchChromium();
  screenshots = await mkdtemp(join(tmpdir(), "napcat-vlm-status-"));
  console.info(`Screenshots: ${screenshots}`);
});
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});
afterAll(() => browser?.close());

/** A bot that has answered, failed, and never ends its next answers. */
async function busyBot() {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel({
    answer: (_request, index) => {
      if (index === 0) return "好的。";
      return index === 1 ? new Error("the model failed") : new Promise<string>(() => {});
    },
    info: { name: "Fake-VL" },
  });
  const bot = installVlm(napcat, {
    model,
    logger: new RecordingLogger(),
    merge: { windowMs: 0 },
    reply: { gapMs: 0, jitterMs: 0 },
  });
  endings.push(() => bot.close());
  const ask = (groupId: number) =>
    napcat.receive(groupMessage({ text: "在吗", mentionsBot: true, groupId }));
  for (const groupId of [1, 2]) {
    ask(groupId);
    await bot.idle();
  }
  const { responder, watched } = bot;
  const server = await startDebugServer({ responder, model, watched, port: 0 });
  endings.push(() => server.close());
  return { napcat, model, bot, ask, url: `${server.url}/status`, close: () => server.close() };
}

async function open(url: string, options: Parameters<Browser["newContext"]>[0] = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 900 }, ...options });
  endings.push(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (line) => void (line.type() === "error" && complaints.push(line.text())));
  page.on("pageerror", (error) => void complaints.push(String(error)));
  await page.goto(url);
  await page.locator("#overview dd").first().waitFor();
  return { page, complaints };
}

const overflow = (page: Page) =>
  page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");

it("shows a turn that began after it was opened, and stops it, without a reload", async () => {
  const { bot, ask, url } = await busyBot();
  const { page, complaints } = await open(url);
  expect(await page.locator("#turns tr").count()).toBe(0);
  // What went wrong, by its kind: its words may be of anybody.
  expect(await page.locator("#errors").textContent()).toMatch(/group:2.*Error/u);
  ask(30);
  ask(31);
  await page.locator("#turns tr").nth(1).waitFor();
  const row = page.locator("#turns tr", { hasText: "group:30" });
  await row.getByRole("button").click();
  await row.waitFor({ state: "detached" });
  expect(await page.locator("#turns tr").count()).toBe(1);
  expect((await bot.watched.status()).turns.map(({ chat }) => chat)).toEqual(["group:31"]);
  expect(complaints).toEqual([]);
});

it("shows no empty cards where no bot is connected, nor a green light once the bot is gone", async () => {
  const model = new FakeVisionLanguageModel();
  const lonely = await startDebugServer({ responder: new Responder({ model }), model, port: 0 });
  endings.push(() => lonely.close());
  const context = await browser.newContext({ locale: "en-US" });
  endings.push(() => context.close());
  const page = await context.newPage();
  await page.goto(`${lonely.url}/status`);
  await page.getByRole("alert").waitFor();
  expect(await page.getByRole("alert").textContent()).toContain("No bot is connected");
  expect(await page.locator("main").isVisible()).toBe(false);

  const { url, close } = await busyBot();
  await page.goto(url);
  await page.locator("#health.healthy").waitFor();
  await close();
  await page.locator("#health").waitFor({ state: "hidden" });
  expect(await page.getByRole("alert").textContent()).toBe("The bot cannot be reached.");
  expect(await page.locator("#overview").isVisible()).toBe(true);
});

it.each([
  ["wide, light", "wide-light", { width: 1200, height: 1000 }, "light"],
  ["wide, dark", "wide-dark", { width: 1200, height: 1000 }, "dark"],
  ["narrow, light", "narrow-light", { width: 360, height: 800 }, "light"],
  ["narrow, dark", "narrow-dark", { width: 360, height: 800 }, "dark"],
] as const)("fits its window: %s", async (_how, file, viewport, colorScheme) => {
  const { ask, url } = await busyBot();
  const { page, complaints } = await open(url, { viewport, colorScheme, locale: "zh-CN" });
  ask(1_234_567_890);
  await page.locator("#turns tr").first().waitFor();
  expect(await overflow(page)).toBe(0);
  const button = await page.locator("#turns button").boundingBox();
  const card = await page.locator("section", { has: page.locator("#turns") }).boundingBox();
  expect((button?.x ?? 0) + (button?.width ?? 0)).toBeLessThan((card?.x ?? 0) + (card?.width ?? 0));
  const paper = await page.evaluate("getComputedStyle(document.body).backgroundColor");
  const [red = 0] = String(paper).match(/\d+/gu)?.map(Number) ?? [];
  expect(red > 128).toBe(colorScheme === "light");
  await page.screenshot({ path: join(screenshots, `${file}.png`), fullPage: true });
  expect(complaints).toEqual([]);
});
