// The HTTP samples of the documentation in both languages against a real server with a fake model: it takes the requests that are shown and
// answers what is shown.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Responder } from "../src/bot/chat/responder.ts";
import { type DebugServer, startDebugServer } from "../src/bot/debug-http/server.ts";
import { FakeVisionLanguageModel } from "../src/vlm/testing.ts";
import { allTables, blockOf, LANGUAGES, read } from "./support/book.ts";
import { drawShapes } from "./support/draw.ts";
import { codes } from "./support/markdown.ts";

describe.each(LANGUAGES)("HTTP interface in %s", (language) => {
  const model = new FakeVisionLanguageModel({ answer: "..." });
  let server: DebugServer;
  let picture: string;

  beforeAll(async () => {
    server = await startDebugServer({ responder: new Responder({ model }), model, port: 0 });
    const drawn = await drawShapes([{ shape: "circle", color: "red" }], { format: "jpeg" });
    picture = drawn.toString("base64");
  });
  afterAll(() => server.close());

  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}${path}`, { method: "POST", body, headers });

  it.each([
    ["group request", "/api/chat/group", "group reply"],
    ["private request", "/api/chat/private", "private reply"],
  ])("answers its %s as it says", async (request, path, reply) => {
    const body = blockOf(language, request);
    expect(body).toContain('"<base64>"');
    const response = await post(path, body.replace("<base64>", picture));
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(JSON.parse(blockOf(language, reply)));
    expect(model.requests.at(-1)?.messages.at(-1)?.content).toContainEqual({
      type: "image",
      data: Buffer.from(picture, "base64"),
    });
  });

  it("forgets, tells its health and refuses as it says", async () => {
    const reset = await post("/api/chat/reset", blockOf(language, "reset request"));
    expect(await reset.json()).toEqual({ status: "success" });
    const health = await fetch(`${server.url}/health`);
    expect(await health.json()).toEqual(JSON.parse(blockOf(language, "health reply")));
    const refused = await post("/api/chat/group", "no JSON");
    expect(await refused.json()).toEqual(JSON.parse(blockOf(language, "error reply")));
  });

  it("streams the events it shows, in their order", async () => {
    const shown = blockOf(language, "event stream");
    const response = await post(
      "/api/chat/group",
      blockOf(language, "group request").replace("<base64>", picture),
      {
        Accept: "text/event-stream",
      },
    );
    // What stands for objects on the language.
    const sent = (await response.text()).replace(
      /"(usage|timings|cache)":\{[^}]*\}/g,
      '"$1":{...}',
    );
    expect(sent.trim()).toBe(shown.trim());
  });

  it("lists every code of its errors", async () => {
    const files = [
      "app",
      "chat-request",
      "chat-routes",
      "guard",
      "open-requests",
      "openai/bad-field",
      "openai/completion-messages",
      "openai/completion-request",
      "picture-data",
      "request-error",
      "server",
      "status-routes",
    ];
    const sources = await Promise.all(files.map((file) => read(`src/bot/debug-http/${file}.ts`)));
    const thrown = sources
      .join("\n")
      .matchAll(/RequestError\(\s*(\d{3}),\s*(?:"([a-z\d-]+)"|error\.code)/g);
    const inCode = new Set([...thrown].flatMap(([, , code]) => code ?? []));
    // Those of the model that have a status of their own, and one that is written by hand.
    const others = ["bad-request", "prompt-too-long", "queue-full", "device-lost", "disposed"];
    for (const code of [...others, "too-slow"]) inCode.add(code);
    const remote = (await read("src/bot/debug-http/request-error.ts")).matchAll(
      /case "(remote-[a-z-]+)"/g,
    );
    for (const [, code = ""] of remote) inCode.add(code);
    const rows = allTables(language).find(({ rows }) => rows[0]?.[0] === "400")?.rows ?? [];
    expect(rows.flatMap(([, cell = ""]) => codes(cell)).toSorted()).toEqual([...inCode].toSorted());
  });
});
