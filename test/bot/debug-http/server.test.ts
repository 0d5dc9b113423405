import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { SettingsOfChats } from "../../../src/bot/chat/chat-settings.ts";
import { Responder } from "../../../src/bot/chat/responder.ts";
import type { ErrorBody } from "../../../src/bot/debug-http/request-error.ts";
import {
  type DebugServer,
  type DebugServerOptions,
  startDebugServer,
} from "../../../src/bot/debug-http/server.ts";
import { DEFAULT_PHRASES } from "../../../src/bot/reply/phrases.ts";
import { AskModel } from "../../../src/bot/triggers/ask-model.ts";
import { shouldReplyBy } from "../../../src/bot/triggers/should-reply.ts";
import { DEFAULT_TRIGGERS } from "../../../src/bot/triggers/trigger-options.ts";
import { ImageDecodeError, PromptTooLongError } from "../../../src/vlm/errors.ts";
import {
  FakeVisionLanguageModel,
  type FakeVisionLanguageModelOptions,
} from "../../../src/vlm/testing.ts";
import type { ChatMessage, GenerateRequest } from "../../../src/vlm/vision-language-model.ts";

const TOKEN = "a-token-of-some-length";
const PIXEL = Buffer.from("GIF89a-not-decoded-by-the-fake").toString("base64");

const groupMessage = {
  type: "group",
  group_id: "123456789",
  group_name: "测试群",
  user_id: "987654321",
  user_nickname: "张三",
  user_card: "张三",
  content: "这是一条消息",
  images: [{ data: PIXEL, format: "jpeg" }],
  timestamp: 1234567890.0,
};
const { group_id: _group, group_name: _name, user_card: _card, ...shared } = groupMessage;
const privateMessage = { ...shared, type: "private" };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function start(
  fake: FakeVisionLanguageModelOptions = {},
  options: Partial<DebugServerOptions> = {},
) {
  const model = new FakeVisionLanguageModel({ info: { device: "cuda:0" }, ...fake });
  const server = await startDebugServer({
    responder: new Responder({ model }),
    model,
    port: 0,
    ...options,
  });
  open.push(server);
  return { model, server };
}

type PostOptions = RequestInit & { readonly headers?: Record<string, string> };

function post(server: DebugServer, path: string, body: unknown, init: PostOptions = {}) {
  return fetch(`${server.url}${path}`, {
    method: "POST",
    body: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
    ...init,
    headers: { "Content-Type": "application/json", ...init.headers },
  });
}

async function refusal(response: Response) {
  const body = (await response.json()) as ErrorBody;
  expect(Object.keys(body)).toEqual(["status", "error"]);
  expect(Object.keys(body.error)).toEqual(["code", "message"]);
  expect(JSON.stringify(body)).not.toMatch(/\bat .*:\d+:\d+/);
  return { status: response.status, code: body.error.code, message: body.error.message };
}

/** A promise, and the function that fulfils it. */
function gate<T = void>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}

/** A raw request, for what fetch would not let through. */
async function raw(server: DebugServer, text: string): Promise<string> {
  const socket = connect(server.port, "127.0.0.1");
  socket.end(text);
  let answer = "";
  socket.setEncoding("utf8").on("data", (chunk) => {
    answer += chunk;
  });
  await once(socket, "close");
  return answer;
}

function lastContent(request: GenerateRequest | undefined): ChatMessage["content"] | undefined {
  return request?.messages.at(-1)?.content;
}

describe("a group message that was not said to the bot", () => {
  const model = new FakeVisionLanguageModel();
  const settings = new SettingsOfChats(
    {
      triggers: { ...DEFAULT_TRIGGERS, nicknames: ["小猫"] },
      queuePolicy: "queue",
      isolation: "chat",
      systemPrompt: "",
    },
    { "group:8": { triggers: { group: ["picture"] } } },
  );
  const shouldReply = shouldReplyBy(settings, new AskModel(model, DEFAULT_PHRASES));
  const unaddressed = { ...groupMessage, addressed: false, images: [] };

  it.each([
    [{ ...unaddressed, content: "小猫，在吗" }, true],
    [{ ...unaddressed, content: "大家早" }, false],
    [{ ...unaddressed, group_id: "8", content: "小猫，在吗" }, false],
    [{ ...groupMessage, addressed: false, group_id: "8", content: "" }, true],
    [{ ...unaddressed, addressed: true, content: "大家早" }, true],
    [{ ...unaddressed, addressed: null, content: "大家早" }, true],
  ])("is answered as the triggers of its group decide", async (message, expected) => {
    const { server, model: asked } = await start({ answer: "在" }, { shouldReply });
    const response = await post(server, "/api/chat/group", message);
    const reply = expected ? "在" : "";
    expect(await response.json()).toEqual({ status: "success", should_reply: expected, reply });
    expect(asked.requests).toHaveLength(expected ? 1 : 0);
  });

  it("streams its silence too, and is silent where nobody decides", async () => {
    const { server } = await start();
    const headers = { Accept: "text/event-stream" };
    const response = await post(server, "/api/chat/group", unaddressed, { headers });
    expect(await response.text()).toBe(
      'event: reply\ndata: {"status":"success","should_reply":false,"reply":""}\n\n',
    );
  });

  it("says so in a word that is true or false", async () => {
    const { server } = await start();
    const wrong = { ...unaddressed, addressed: "no" };
    const { status, message } = await refusal(await post(server, "/api/chat/group", wrong));
    expect([status, message]).toEqual([400, expect.stringContaining("`addressed`")]);
  });
});

describe("startDebugServer: messages", () => {
  it("answers a group message in the agreed format", async () => {
    const { server, model } = await start({ answer: "一只猫。" });
    const response = await post(server, "/api/chat/group", groupMessage);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(
      '{"status":"success","should_reply":true,"reply":"一只猫。"}',
    );
    expect(lastContent(model.requests[0])).toContainEqual({
      type: "image",
      data: Buffer.from(PIXEL, "base64"),
    });
  });

  it("answers a private message in the agreed format", async () => {
    const { server } = await start({ answer: "一只猫。" });
    const response = await post(server, "/api/chat/private", privateMessage);
    expect(await response.text()).toBe('{"status":"success","reply":"一只猫。"}');
  });

  it("says nothing to a message with neither text nor picture", async () => {
    const { server, model } = await start();
    const empty = { ...groupMessage, content: " \n", images: [] };
    expect(await (await post(server, "/api/chat/group", empty)).json()).toEqual({
      status: "success",
      should_reply: false,
      reply: "",
    });
    const alone = { ...privateMessage, content: "", images: null };
    expect(await (await post(server, "/api/chat/private", alone)).json()).toEqual({
      status: "success",
      reply: "",
    });
    expect(model.requests).toHaveLength(0);
  });

  it("takes pictures as data URIs, with broken lines, and whatever format was declared", async () => {
    const { server, model } = await start();
    const wrapped = `${PIXEL.slice(0, 8)}\r\n${PIXEL.slice(8)}`;
    const images = [
      { data: `data:image/png;base64,${PIXEL}`, format: "webp" },
      { data: wrapped },
      { data: PIXEL.replace(/=+$/, ""), format: null },
    ];
    const response = await post(server, "/api/chat/group", { ...groupMessage, images });
    expect(response.status).toBe(200);
    const data = Buffer.from(PIXEL, "base64");
    const content = lastContent(model.requests[0]);
    const pictures = Array.isArray(content) ? content.filter((part) => part.type === "image") : [];
    expect(pictures).toEqual(Array(3).fill({ type: "image", data }));
  });

  it("takes ids as numbers and leaves out what may be left out", async () => {
    const { server } = await start();
    const body = { group_id: 1, user_id: 2, content: "hi" };
    expect((await post(server, "/api/chat/group", body)).status).toBe(200);
  });

  it("keeps one history for each chat, and forgets it when asked", async () => {
    const { server, model } = await start({ answer: (_request, index) => `回答${index}` });
    const texts = { ...groupMessage, images: [] };
    await post(server, "/api/chat/group", texts);
    await post(server, "/api/chat/private", { ...privateMessage, images: [] });
    await post(server, "/api/chat/group", { ...texts, group_id: "another" });
    await post(server, "/api/chat/group", texts);
    const roles = model.requests.map(({ messages }) =>
      messages.filter(({ role }) => role === "assistant").map(({ content }) => content),
    );
    expect(roles).toEqual([[], [], [], ["回答0"]]);

    const reset = { type: "group", group_id: groupMessage.group_id };
    const response = await post(server, "/api/chat/reset", reset);
    expect(await response.json()).toEqual({ status: "success" });
    await post(server, "/api/chat/group", texts);
    expect(model.requests[4]?.messages.some(({ role }) => role === "assistant")).toBe(false);
  });

  it("still answers when a picture cannot be read", async () => {
    const broken = new ImageDecodeError("image-corrupt", "Broken.", { imageIndex: 0 });
    const { server } = await start({ answer: [broken, "看不清。"] });
    const response = await post(server, "/api/chat/group", groupMessage);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ reply: "看不清。" });
  });

  it("streams the parts of a reply, then the reply", async () => {
    const { server } = await start({ answer: { text: "一只黑色的猫。", reasoning: "看\n一看" } });
    const response = await post(server, "/api/chat/group", groupMessage, {
      headers: { Accept: "text/event-stream" },
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const events = (await response.text())
      .trimEnd()
      .split("\n\n")
      .map((block) => {
        const [event, data, ...rest] = block.split("\n");
        expect(rest).toEqual([]);
        return { event: event?.slice(7), data: JSON.parse(data?.slice(6) ?? "") };
      });
    const text = (name: string) =>
      events.flatMap(({ event, data }) => (event === name ? [data.text] : [])).join("");
    expect(text("reasoning-delta")).toBe("看\n一看");
    expect(text("text-delta")).toBe("一只黑色的猫。");
    expect(events.at(-2)).toMatchObject({
      event: "finish",
      data: { finishReason: "stop", usage: { imageTokens: 1 }, cache: { imageMisses: 1 } },
    });
    expect(events.at(-1)).toEqual({
      event: "reply",
      data: { status: "success", should_reply: true, reply: "一只黑色的猫。" },
    });
  });
});

describe("startDebugServer: what else it serves", () => {
  it("reports health in the agreed format", async () => {
    const { server } = await start();
    const response = await fetch(`${server.url}/health`);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(
      '{"status":"healthy","model_loaded":true,"processor_loaded":true,"device":"cuda:0"}',
    );
  });

  it("reports a model that is gone with a 503", async () => {
    const { server, model } = await start();
    await model.dispose();
    const response = await fetch(`${server.url}/health`);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({
      status: "unhealthy",
      model_loaded: false,
      processor_loaded: false,
      device: "cuda:0",
    });
  });

  it("reports a model whose device was lost with a 503 and the reason", async () => {
    const reason = "The device cuda:0 (H100) was lost: CUDA error 700.";
    const { server } = await start({
      health: () => ({ state: "reloading", losses: 1, reason, nextAttemptMs: 0 }),
    });
    const response = await fetch(`${server.url}/health`);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({
      status: "unhealthy",
      model_loaded: false,
      processor_loaded: false,
      device: "cuda:0",
      reason,
    });
  });

  it("describes the model", async () => {
    const { model, server } = await start();
    expect(await (await fetch(`${server.url}/api/info`)).json()).toEqual({
      status: "success",
      model: model.info,
    });
  });

  it("serves a page that can load nothing from elsewhere", async () => {
    const { server } = await start();
    const page = await fetch(server.url);
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; /);
    const html = await page.text();
    expect(html).not.toMatch(/https?:|<style|style=|onclick|<script(?![^>]*src)/);
    const files = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path);
    expect(files).toEqual(["/page.css", "/page.js"]);
    const script = await (await fetch(`${server.url}/page.js`)).text();
    const modules = [...script.matchAll(/from "\.(\/[^"]+)"/g)].map(([, path]) => path);
    for (const path of [...files, ...modules]) {
      const file = await fetch(`${server.url}${path}`);
      expect([path, file.status]).toEqual([path, 200]);
      expect(await file.text()).not.toMatch(/https?:\/\/|innerHTML|insertAdjacentHTML/);
    }
  });
});

describe("startDebugServer: refusals", () => {
  it.each([
    ["GET", "/nowhere", 404, "not-found"],
    ["POST", "/api/chat/other", 404, "not-found"],
    ["GET", "/../package.json", 404, "not-found"],
    ["GET", "/api/chat/group", 405, "method-not-allowed"],
    ["OPTIONS", "/api/chat/group", 405, "method-not-allowed"],
    ["DELETE", "/health", 405, "method-not-allowed"],
    ["POST", "/", 405, "method-not-allowed"],
  ])("%s %s is a %i in JSON", async (method, path, status, code) => {
    const { server } = await start();
    const response = await fetch(`${server.url}${path}`, { method });
    expect(await refusal(response)).toMatchObject({ status, code });
    if (status === 405) expect(response.headers.get("allow")).toBeTruthy();
  });

  it.each([
    ["{", "bad-json"],
    ["", "bad-json"],
    ["[]", "bad-field", "body"],
    ["null", "bad-field", "body"],
    // 你好 as a shell with the code page GBK sends it.
    [
      Buffer.from(
        '{"type":"group","group_id":"1","user_id":"2","content":"\xc4\xe3\xba\xc3"}',
        "latin1",
      ),
      "bad-json",
    ],
    [{ ...groupMessage, type: "private" }, "bad-field", "type"],
    [{ ...groupMessage, group_id: undefined }, "bad-field", "group_id"],
    [{ ...groupMessage, group_id: "" }, "bad-field", "group_id"],
    [{ ...groupMessage, user_id: 1.5 }, "bad-field", "user_id"],
    [{ ...groupMessage, user_id: "a\0b" }, "bad-field", "user_id"],
    [{ ...groupMessage, user_id: null }, "bad-field", "user_id"],
    [{ ...groupMessage, user_nickname: 7 }, "bad-field", "user_nickname"],
    [{ ...groupMessage, content: undefined }, "bad-field", "content"],
    [{ ...groupMessage, content: ["text"] }, "bad-field", "content"],
    [{ ...groupMessage, images: "picture" }, "bad-field", "images"],
    [{ ...groupMessage, images: [{}] }, "bad-field", "images[0].data"],
    [{ ...groupMessage, images: [{ data: "" }] }, "bad-field", "images[0].data"],
    [
      { ...groupMessage, images: [{ data: PIXEL, format: "tiff" }] },
      "bad-field",
      "images[0].format",
    ],
    [
      { ...groupMessage, images: [{ data: PIXEL }, { data: "%%%%" }] },
      "bad-base64",
      "images[1].data",
    ],
    [{ ...groupMessage, images: [{ data: "A" }] }, "bad-base64", "images[0].data"],
    [{ ...groupMessage, images: [{ data: "AAA==" }] }, "bad-base64", "images[0].data"],
    [{ ...groupMessage, images: [{ data: "data:image/png,%00" }] }, "bad-base64", "images[0].data"],
    [{ ...groupMessage, timestamp: "now" }, "bad-field", "timestamp"],
  ])("a bad body is a 400 that names the field (%#)", async (body, code, field = "body") => {
    const { server, model } = await start();
    const answer = await refusal(await post(server, "/api/chat/group", body));
    expect(answer).toMatchObject({ status: 400, code });
    expect(answer.message).toMatch(field === "body" ? /body/ : `\`${field}\``);
    expect(model.requests).toHaveLength(0);
  });

  it("repeats nothing of what was written in its errors", async () => {
    const { server } = await start();
    for (const body of ['{"content": secretword', { ...groupMessage, type: "secretword" }]) {
      const { message } = await refusal(await post(server, "/api/chat/group", body));
      expect(message).not.toContain("secretword");
    }
  });

  it.each([
    [{ maxBodyBytes: 100 }, groupMessage, "body-too-large"],
    [{ maxPictureBytes: 10 }, groupMessage, "picture-too-large"],
    [
      { maxPictures: 1 },
      { ...groupMessage, images: Array(2).fill({ data: PIXEL }) },
      "too-many-pictures",
    ],
    [{ maxTextLength: 5 }, groupMessage, "text-too-long"],
  ])("what is over a limit is a 413 (%o)", async (limits, body, code) => {
    const { server } = await start({}, { limits });
    const answer = await refusal(await post(server, "/api/chat/group", body));
    expect(answer).toMatchObject({ status: 413, code });
  });

  it("stops reading a body without a length at the limit", async () => {
    const { server } = await start({}, { limits: { maxBodyBytes: 1000 } });
    let chunks = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        chunks++;
        if (chunks > 100_000) controller.close();
        else controller.enqueue(new Uint8Array(1000));
      },
    });
    const response = await post(server, "/api/chat/group", "", {
      body: endless,
      duplex: "half",
    } as PostOptions);
    expect(await refusal(response)).toMatchObject({ status: 413, code: "body-too-large" });
    expect(chunks).toBeLessThan(100_000);
  });

  it("says 503 when too many messages are being answered", async () => {
    const answered = gate<string>();
    const asked = gate();
    const answer = () => {
      asked.resolve();
      return answered.promise;
    };
    const { server } = await start({ answer }, { limits: { maxRequests: 1 } });
    const first = post(server, "/api/chat/group", groupMessage);
    await asked.promise;
    const second = await post(server, "/api/chat/private", privateMessage);
    expect(second.headers.get("retry-after")).toBe("5");
    expect(await refusal(second)).toMatchObject({ status: 503, code: "too-many-requests" });
    answered.resolve("好");
    expect((await first).status).toBe(200);
  });

  it.each([
    ["application/json", 413],
    ["text/event-stream", 200],
  ])("passes on what the model refuses (%s)", async (accept, status) => {
    const { server } = await start({ answer: new PromptTooLongError(9000, 4096) });
    const response = await post(server, "/api/chat/group", groupMessage, {
      headers: { Accept: accept },
    });
    expect(response.status).toBe(status);
    expect(await response.text()).toContain('{"status":"error","error":{"code":"prompt-too-long"');
  });

  it.each(["application/json", "text/event-stream"])(
    "hides what nobody expected, and tells the bot (%s)",
    async (accept) => {
      const errors: unknown[] = [];
      const surprise = new Error("secret detail");
      const onError = (error: unknown) => errors.push(error);
      const { server } = await start({ answer: surprise }, { onError });
      const response = await post(server, "/api/chat/group", groupMessage, {
        headers: { Accept: accept },
      });
      const body = await response.text();
      expect(body).toContain('"code":"internal"');
      expect(body).not.toContain("secret detail");
      expect(errors).toEqual([surprise]);
    },
  );

  it("answers broken HTTP in JSON", async () => {
    const { server } = await start();
    const broken = await raw(server, "what is this\r\n\r\n");
    expect(broken).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\n\r\n\{"status":"error"/);
    const long = await raw(server, `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(99_999)}\r\n\r\n`);
    expect(long).toMatch(/^HTTP\/1\.1 431 [\s\S]*\r\n\r\n\{"status":"error"/);
    const noHost = await raw(server, "GET /health HTTP/1.0\r\n\r\n");
    expect(noHost).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\n\r\n\{"status":"error"/);
  });
});

describe("startDebugServer: who may ask", () => {
  it("refuses names that are not this machine's (DNS rebinding)", async () => {
    const { server } = await start();
    const get = (host: string) =>
      raw(server, `GET /health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(await get("evil.example")).toMatch(/^HTTP\/1\.1 403 [\s\S]*"foreign-host"/);
    expect(await get(`127.0.0.1.evil.example:${server.port}`)).toMatch(/^HTTP\/1\.1 403 /);
    for (const host of ["localhost:1234", "127.0.0.1", "[::1]:9999", "LOCALHOST"]) {
      expect(await get(host)).toMatch(/^HTTP\/1\.1 200 /);
    }
  });

  it.each(["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"])(
    "refuses pages of another origin (%s)",
    async (origin) => {
      const { server, model } = await start();
      const response = await post(server, "/api/chat/group", groupMessage, {
        headers: { Origin: origin, "Content-Type": "text/plain" },
      });
      expect(await refusal(response)).toMatchObject({ status: 403, code: "foreign-origin" });
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
      expect(model.requests).toHaveLength(0);
    },
  );

  it("lets its own page in", async () => {
    const { server } = await start();
    const headers = { Origin: server.url };
    expect((await post(server, "/api/chat/group", groupMessage, { headers })).status).toBe(200);
  });

  it("asks for the token everywhere but for the page's scripts and styles", async () => {
    const { server } = await start({}, { token: TOKEN });
    for (const path of ["/", "/health", "/api/info", "/api/chat/group", "/?token=wrong"]) {
      const response = await fetch(`${server.url}${path}`);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(await refusal(response)).toMatchObject({ status: 401, code: "unauthorized" });
    }
    const inQuery = await post(server, `/api/chat/group?token=${TOKEN}`, groupMessage);
    expect(inQuery.status).toBe(401);

    const headers = { Authorization: `Bearer ${TOKEN}` };
    expect((await post(server, "/api/chat/group", groupMessage, { headers })).status).toBe(200);
    expect((await fetch(`${server.url}/health`, { headers })).status).toBe(200);
    expect((await fetch(`${server.url}/?token=${TOKEN}`)).status).toBe(200);
    expect((await fetch(`${server.url}/page.js`)).status).toBe(200);
  });

  it("listens beyond this machine only with a token", async () => {
    await expect(start({}, { host: "0.0.0.0" })).rejects.toThrow(
      "Expected `token` to be set, because `0.0.0.0` can be reached from other machines.",
    );
    const { server } = await start({}, { host: "0.0.0.0", token: TOKEN });
    const answer = await raw(
      server,
      `GET /health HTTP/1.1\r\nHost: bot.lan\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    [{ port: -1 }, "Expected `port` to be an integer >= 0 and <= 65535, got `-1` (number)"],
    [{ tokens: "x".repeat(20) } as object, "Unknown option `tokens` of startDebugServer."],
    [{ token: 1234567890123456 as never }, "Expected `token` to be a string, got a number."],
    [{ host: 127 as never }, "Expected `host` to be a string, got `127` (number)"],
    [{ responder: {} as never }, "Expected `responder` to be a Responder"],
    [{ model: undefined as never }, "Expected `model` to be a VisionLanguageModel"],
    [{ token: "short" }, "Expected `token` to have at least 16 characters, got 5"],
    [{ limits: { maxPictures: 0 } }, "Expected `limits.maxPictures` to be an integer >= 1"],
    [
      { limits: { maxpictures: 1 } as object },
      "Unknown option `limits.maxpictures` of startDebugServer.",
    ],
  ])("refuses wrong options (%#)", async (options, message) => {
    await expect(start({}, options)).rejects.toThrow(message);
  });

  it.each([
    ["of a known length", "Content-Length: 999\r\n\r\n{"],
    ["in chunks", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
  ])("does not report a client that leaves in the middle of a message %s", async (_, begun) => {
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    const { server } = await start({}, { onError, limits: { maxRequests: 1 } });
    const socket = connect(server.port, "127.0.0.1");
    socket.write(`POST /api/chat/private HTTP/1.1\r\nHost: localhost\r\n${begun}`);
    // Its place is taken when the message begins, and free again when it has gone.
    const next = () => post(server, "/api/chat/private", privateMessage);
    while ((await next()).status !== 503);
    socket.destroy();
    while ((await next()).status !== 200);
    expect(errors).toEqual([]);
  });

  it("says when its port is taken", async () => {
    const { server } = await start();
    await expect(start({}, { port: server.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});

describe("startDebugServer: endings", () => {
  /** A model that answers once its request was aborted, and says so. */
  function endless() {
    const asked = gate<GenerateRequest>();
    const aborted = gate<unknown>();
    const answer = (request: GenerateRequest) => {
      asked.resolve(request);
      request.signal?.addEventListener("abort", () => aborted.resolve(request.signal?.reason));
      return new Promise<string>(() => {});
    };
    return { answer, asked: asked.promise, aborted: aborted.promise };
  }

  it.each(["application/json", "text/event-stream"])(
    "aborts the answer when the client leaves (%s)",
    async (accept) => {
      const { answer, asked, aborted } = endless();
      const { server } = await start({ answer });
      const client = new AbortController();
      const response = post(server, "/api/chat/group", groupMessage, {
        headers: { Accept: accept },
        signal: client.signal,
      }).then((streaming) => streaming.text());
      await asked;
      client.abort();
      await expect(response).rejects.toThrow();
      await aborted;
      expect((await fetch(`${server.url}/health`)).status).toBe(200);
    },
  );

  it.each([
    ["application/json", 503],
    ["text/event-stream", 200],
  ])("tells clients that it is closing (%s)", async (accept, status) => {
    const { answer, asked, aborted } = endless();
    const { server } = await start({ answer });
    const pending = post(server, "/api/chat/group", groupMessage, { headers: { Accept: accept } });
    await asked;
    const closing = server.close();
    const response = await pending;
    expect(response.status).toBe(status);
    expect(await response.text()).toContain('"code":"shutting-down"');
    await aborted;
    await closing;
    await expect(fetch(`${server.url}/health`)).rejects.toThrow();
    await server.close();
  });
});
