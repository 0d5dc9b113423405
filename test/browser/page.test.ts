import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Responder } from "../../src/bot/chat/responder.ts";
import {
  type DebugServer,
  type DebugServerOptions,
  startDebugServer,
} from "../../src/bot/debug-http/server.ts";
import { type FakeAnswers, FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import type { GenerateRequest, StreamPart } from "../../src/vlm/vision-language-model.ts";
import { drawShapes } from "../support/draw.ts";
import { launchChromium } from "./chromium.ts";

let browser: Browser;
let screenshots: string;
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  browser = await launchChromium();
  screenshots = await mkdtemp(join(tmpdir(), "napcat-vlm-page-"));
  console.info(`Screenshots: ${screenshots}`);
});
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});
afterAll(() => browser?.close());

interface Opened {
  readonly page: Page;
  readonly context: BrowserContext;
  readonly model: FakeVisionLanguageModel;
  readonly server: DebugServer;
  /** What the browser complained about: scripts, policy violations, failed requests. */
  readonly complaints: string[];
}

async function open(
  answer: FakeAnswers,
  contextOptions: Parameters<Browser["newContext"]>[0] = {},
  serverOptions: Partial<DebugServerOptions> = {},
): Promise<Opened> {
  const model = new FakeVisionLanguageModel({ answer, info: { name: "Fake-VL" } });
  const server = await startDebugServer({
    responder: new Responder({ model }),
    model,
    port: 0,
    ...serverOptions,
  });
  endings.push(() => server.close());
  const context = await browser.newContext({
    locale: "zh-CN",
    viewport: { width: 1000, height: 800 },
    ...contextOptions,
  });
  endings.push(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol === "http:" && origin !== server.url) complaints.push(`asked for ${origin}`);
  });
  const token = serverOptions.token === undefined ? "" : `?token=${serverOptions.token}`;
  await page.goto(`${server.url}/${token}`);
  await page.locator("#model-state.good").waitFor();
  return { page, context, model, server, complaints };
}

function shoot(page: Page, name: string) {
  return page.screenshot({ path: join(screenshots, `${name}.png`) });
}

function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

async function say(page: Page, text: string) {
  await page.locator("#text").fill(text);
  await page.locator("#text").press("Enter");
}

const redCircle = () => drawShapes([{ shape: "circle", color: "red" }]);

function attachment(name: string, buffer: Buffer) {
  return { name, mimeType: "image/png", buffer };
}

function pictureBytes(request: GenerateRequest | undefined): Uint8Array[] {
  const content = request?.messages.at(-1)?.content ?? [];
  if (typeof content === "string") return [];
  return content.flatMap((part) => (part.type === "image" ? [part.data] : []));
}

const finish: StreamPart = {
  type: "finish",
  finishReason: "stop",
  usage: {
    promptTokens: 312,
    imageTokens: 280,
    completionTokens: 28,
    reasoningTokens: 0,
    droppedTurns: 0,
  },
  timings: {
    queueMs: 0,
    imageMs: 21,
    visionMs: 340,
    prefillMs: 180,
    decodeMs: 560,
    totalMs: 1101,
  },
  cache: { imageHits: 1, imageMisses: 1 },
};

describe("the chat page", () => {
  it("sends text and pictures, and shows the answer with its numbers", async () => {
    const { page, model, complaints } = await open(async function* () {
      yield { type: "text-delta", text: "图里有一个" } as const;
      yield { type: "text-delta", text: "红色的圆形。" } as const;
      yield finish;
    } as unknown as FakeAnswers);
    await shoot(page, "empty");
    const circle = await redCircle();
    const second = await drawShapes([
      { shape: "star", color: "yellow" },
      { shape: "square", color: "blue" },
    ]);
    await page
      .locator("#files")
      .setInputFiles([attachment("a.png", circle), attachment("b.png", second)]);
    await page.locator("#text").fill("图里有什么？");
    await shoot(page, "composing");
    await page.locator("#send").click();

    await page.getByText("图里有一个红色的圆形。", { exact: true }).waitFor();
    const facts = await page.locator(".bot .facts").textContent();
    expect(facts).toMatch(/共 [\d.]+ 秒.*28 词元，50\/秒.*图片缓存命中 1\/2/);
    expect(await page.locator(".user .gallery img").count()).toBe(2);
    expect(pictureBytes(model.requests[0])).toEqual([circle, second]);
    await shoot(page, "answered");
    await page.locator(".user .picture").first().click();
    await page.locator("#viewer[open] img").waitFor();
    await shoot(page, "viewer");
    expect(complaints).toEqual([]);
  });

  it("streams, folds the reasoning and can be stopped", async () => {
    const first = gate();
    const stopped = gate();
    const { page } = await open((request) => {
      request.signal?.addEventListener("abort", stopped.open);
      return (async function* () {
        yield { type: "reasoning-delta", text: "用户想知道图里有什么。\n先看形状。" } as const;
        await first.opened;
        yield { type: "text-delta", text: "我看到" } as const;
        await new Promise(() => {});
      })();
    });
    await say(page, "图里有什么？");
    const reasoning = page.locator("details.reasoning");
    await reasoning.getByText("先看形状。").waitFor();
    expect(await reasoning.getAttribute("open")).not.toBeNull();
    await shoot(page, "reasoning");
    first.open();
    await page.getByText("我看到", { exact: true }).waitFor();
    expect(await reasoning.getAttribute("open")).toBeNull();
    await page.getByRole("button", { name: "停止" }).click();
    await stopped.opened;
    await page.getByText("已停止").waitFor();
    await shoot(page, "stopped");
  });

  it("keeps groups and people apart, and clears a chat", async () => {
    const { page, model } = await open((_request, index) => `回答 ${index}`);
    await say(page, "第一句");
    await page.getByText("回答 0").waitFor();
    await page.getByText("李四", { exact: true }).click();
    await say(page, "第二句");
    await page.getByText("回答 1").waitFor();
    expect(await page.locator(".message").count()).toBe(4);
    expect(model.requests[1]?.messages.some(({ role }) => role === "assistant")).toBe(true);

    await page.locator("#new-user-name").fill("<b>王&六</b>");
    await page.locator("#new-user-name").press("Enter");
    await say(page, "第三句 <img src=x onerror=alert(1)>");
    await page.getByText("回答 2").waitFor();
    await page.getByText("第三句 <img src=x onerror=alert(1)>").waitFor();
    await shoot(page, "group");

    await page.getByText("私聊", { exact: true }).click();
    await page.getByRole("heading", { name: "发一张图" }).waitFor();
    await say(page, "私下说");
    await page.getByText("回答 3").waitFor();
    expect(model.requests[3]?.messages.some(({ role }) => role === "assistant")).toBe(false);

    await page.getByText("群聊", { exact: true }).click();
    expect(await page.locator(".message").count()).toBe(6);
    await page.getByRole("button", { name: "清空对话" }).click();
    await page.getByRole("heading", { name: "发一张图" }).waitFor();
    await say(page, "重新开始");
    await page.getByText("回答 4").waitFor();
    expect(model.requests[4]?.messages.some(({ role }) => role === "assistant")).toBe(false);
  });

  it("has a name for everything that can be pressed, chosen or written into, and a picture opens from the keyboard", async () => {
    const { page } = await open("好的。");
    await page.locator("#files").setInputFiles({
      name: "a.png",
      mimeType: "image/png",
      buffer: await redCircle(),
    });
    await say(page, "这是什么？");
    await page.getByText("好的。").waitFor();
    const tree = await page.locator("body").ariaSnapshot();
    const nameless = tree
      .split("\n")
      .filter((line) => /- (?:button|radiogroup|radio|textbox)(?: \[.*\])?:?$/.test(line));
    expect(nameless, tree).toEqual([]);
    await page.getByRole("button", { name: "放大图片 1" }).press("Enter");
    await page.locator("#viewer[open]").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#viewer:not([open])").waitFor({ state: "attached" });
  });

  it("takes pasted and dropped pictures, and refuses what is none", async () => {
    const { page, model } = await open("好的。");
    const circle = await redCircle();
    const drop = (type: "paste" | "drop", mimeType: string) =>
      page.evaluate(`{
        const bytes = Uint8Array.from(atob("${circle.toString("base64")}"), (c) => c.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "a.bin", { type: "${mimeType}" }));
        const init = { bubbles: true, cancelable: true };
        document.body.dispatchEvent("${type}" === "paste"
          ? new ClipboardEvent("paste", { ...init, clipboardData: transfer })
          : new DragEvent("drop", { ...init, dataTransfer: transfer }));
      }`);
    await drop("paste", "image/png");
    await page.locator("#attachments figure").waitFor();
    await drop("drop", "image/webp");
    await page.locator("#attachments figure").nth(1).waitFor();
    await drop("drop", "application/pdf");
    await page.getByText("a.bin 不是图片").waitFor();
    await shoot(page, "attachments");
    await page.getByRole("button", { name: "移除图片" }).first().click();
    expect(await page.locator("#attachments figure").count()).toBe(1);
    await page.locator("#send").click();
    await page.getByText("好的。").waitFor();
    expect(pictureBytes(model.requests[0])).toEqual([circle]);
  });

  it("shows errors, and that the server is gone", async () => {
    const { page, server } = await open("好", {}, { limits: { maxTextLength: 5 } });
    await say(page, "这句话太长了一些");
    await page.locator(".error", { hasText: "text-too-long" }).waitFor();
    expect(await page.locator("#text").inputValue()).toBe("这句话太长了一些");
    await server.close();
    await say(page, "在吗");
    await page.locator(".error", { hasText: "连不上服务器" }).waitFor();
    await page.locator("#model-state.bad").waitFor();
    await shoot(page, "errors");
  });

  it("does not send while an input method composes a word, and breaks lines with Shift+Enter", async () => {
    const { page, model } = await open("好");
    await page.locator("#text").fill("ni");
    await page.locator("#text").dispatchEvent("keydown", { key: "Enter", isComposing: true });
    await page.locator("#text").press("Shift+Enter");
    await page.locator("#text").pressSequentially("hao");
    expect(model.requests).toHaveLength(0);
    expect(await page.locator("#text").inputValue()).toBe("ni\nhao");
  });

  it("fits a phone, in the dark, in English, behind a token", async () => {
    const { page, complaints } = await open(
      "A long answer that goes on for a while. ".repeat(12),
      { viewport: { width: 360, height: 720 }, colorScheme: "dark", locale: "en-GB" },
      { token: "a-token-of-some-length" },
    );
    await page.locator("#files").setInputFiles([attachment("a.png", await redCircle())]);
    await say(page, "What is this?");
    await page.locator(".bot .facts").waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
    await shoot(page, "phone");
    expect(complaints).toEqual([]);
  });
});
