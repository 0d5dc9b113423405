// What OpenAI's interface of the debug adapter answers, byte for byte where clients look: pieces of a stream, statuses, addresses.

import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startDeadline } from "../../../src/abort.ts";
import { resolveLimits } from "../../../src/bot/debug-http/limits.ts";
import { OpenRequests } from "../../../src/bot/debug-http/open-requests.ts";
import { Completion } from "../../../src/bot/debug-http/openai/completion-body.ts";
import { streamCompletion } from "../../../src/bot/debug-http/openai/completion-stream.ts";
import { QueueFullError } from "../../../src/vlm/errors.ts";
import type { StreamPart } from "../../../src/vlm/vision-language-model.ts";
import { closeDoors, errorOf, openDoor, question } from "../../support/open-ai-door.ts";

afterEach(closeDoors);

const TOOLS = [{ type: "function" as const, function: { name: "look", parameters: {} } }];
const twoCalls = {
  text: "看看。",
  reasoning: "嗯",
  toolCalls: [
    { name: "look", arguments: { at: 1 } },
    { name: "look", arguments: { at: 2 } },
  ],
};

async function chunksOf(response: Response): Promise<Record<string, unknown>[]> {
  const events = (await response.text()).trim().split("\n\n");
  expect(events.pop()).toBe("data: [DONE]");
  return events.map((event) => JSON.parse(event.replace(/^data: /u, "")));
}

describe("a stream", () => {
  it("tells role, thought, text, calls, the reason and usage, in this order and each in its own piece", async () => {
    const { post } = await openDoor({ answer: twoCalls });
    const asked = { ...question, tools: TOOLS, stream: true };
    const chunks = await chunksOf(
      await post({ ...asked, stream_options: { include_usage: true } }),
    );
    const id = expect.stringMatching(/^call_[0-9a-f]{24}$/u);
    const call = (index: number) => ({
      tool_calls: [{ index, id, type: "function", function: { name: "look", arguments: "" } }],
    });
    const input = (index: number, text: string) => ({
      tool_calls: [{ index, function: { arguments: text } }],
    });
    const deltas = chunks
      .slice(0, -1)
      .map(({ choices }) => (choices as [{ delta: object }])[0].delta);
    expect(deltas).toEqual([
      { role: "assistant", content: "", refusal: null },
      { reasoning_content: "嗯" },
      { content: "看看。" },
      call(0),
      input(0, '{"at":1}'),
      call(1),
      input(1, '{"at":2}'),
      {},
    ]);
    const reasons = chunks
      .slice(0, -1)
      .map(({ choices }) => (choices as [{ finish_reason: unknown }])[0].finish_reason);
    expect(reasons).toEqual([...Array(7).fill(null), "tool_calls"]);
    // As OpenAI writes it: null until the last piece, which has no choice.
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: expect.any(Number) },
    });
    const heads = new Set(
      chunks.map(({ id, created, model, system_fingerprint, object }) =>
        JSON.stringify({ id, created, model, system_fingerprint, object }),
      ),
    );
    expect(heads.size).toBe(1);
    expect(chunks[0]).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/u),
      created: expect.any(Number),
      model: "eyes",
      object: "chat.completion.chunk",
      system_fingerprint: expect.stringMatching(/^fp_[0-9a-f]{10}$/u),
    });
  });

  it("says nothing of usage where nobody asked", async () => {
    const { post } = await openDoor({ answer: "好" });
    const chunks = await chunksOf(await post({ ...question, stream: true }));
    for (const chunk of chunks) expect(chunk).not.toHaveProperty("usage");
  });

  it("has the status of an error that comes first, and where to go from there", async () => {
    const { post } = await openDoor({ answer: new QueueFullError(3, 3) });
    const response = await post({ ...question, stream: true });
    expect(response.headers.get("retry-after")).toBe("5");
    expect(await errorOf(response)).toMatchObject({ status: 503, type: "server_error" });
  });

  it("ends with an error that comes later, and not with [DONE]", async () => {
    const errors: unknown[] = [];
    const broken = new Error("CANARY");
    const answer = async () =>
      (async function* () {
        yield { type: "text-delta" as const, text: "好" };
        throw broken;
      })();
    const { post } = await openDoor({ answer }, { onError: (error) => errors.push(error) });
    const response = await post({ ...question, stream: true });
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text.trim().split("\n\n").at(-1)).toMatch(/^data: \{"error":\{"message":/u);
    expect(text).not.toContain("CANARY");
    expect(errors).toEqual([broken]);
  });
});

describe("a stream of which nothing is there yet", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("begins after ten seconds, and is kept alive by comments", async () => {
    let go = (_part: StreamPart) => {};
    const part = new Promise<StreamPart>((resolve) => {
      go = resolve;
    });
    const model = { name: "eyes", device: "cpu", contextTokens: 1, thinking: false };
    let response: Response | undefined;
    const answered = streamCompletion({
      parts: (async function* () {
        yield { index: 0, part: await part };
      })(),
      completion: new Completion({ model, includeUsage: false }),
      request: startDeadline(undefined),
      requests: new OpenRequests(resolveLimits()),
      onError: () => {},
    }).then((value) => {
      response = value;
    });
    await vi.advanceTimersByTimeAsync(9_999);
    expect(response).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    await answered;
    const reader = response!.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader.read()).value).toContain('"role":"assistant"');
    await vi.advanceTimersByTimeAsync(15_000);
    expect((await reader.read()).value).toBe(": keep-alive\n\n");
    go({ type: "text-delta", text: "好" });
    expect((await reader.read()).value).toContain('"content":"好"');
    expect((await reader.read()).value).toBe("data: [DONE]\n\n");
    expect((await reader.read()).done).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("calls of tools", () => {
  it.each([false, true])("are one where only one is wanted (streaming: %s)", async (stream) => {
    const { client, model } = await openDoor({ answer: twoCalls });
    const body = { ...question, tools: TOOLS, parallel_tool_calls: false };
    const completion = stream
      ? await client.chat.completions.stream(body).finalChatCompletion()
      : await client.chat.completions.create(body);
    expect(completion.choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: "look", arguments: '{"at":1}' } },
    ]);
    expect(completion.choices[0]?.finish_reason).toBe("tool_calls");
    // Nothing is written that nobody will see.
    expect(model.requests[0]?.parallelToolCalls).toBe(false);
  });

  it("have ids that no other answer has", async () => {
    const { client } = await openDoor({ answer: [twoCalls, twoCalls] });
    const ids: string[] = [];
    for (let turn = 0; turn < 2; turn++) {
      const { choices } = await client.chat.completions.create({ ...question, tools: TOOLS });
      ids.push(...(choices[0]?.message.tool_calls ?? []).map(({ id }) => id));
    }
    expect(new Set(ids).size).toBe(4);
  });
});

describe("whoever leaves", () => {
  it.each([false, true])("ends the work before there is a word (streaming: %s)", async (stream) => {
    let asked = () => {};
    const begun = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const answer = () => {
      asked();
      return new Promise<string>(() => {});
    };
    const { server, model } = await openDoor({ answer });
    const leaving = new AbortController();
    const response = fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...question, stream }),
      signal: leaving.signal,
    });
    await begun;
    leaving.abort();
    await expect(response).rejects.toThrow();
    await expect.poll(() => model.requests[0]?.signal?.aborted).toBe(true);
  });
});

describe("addresses", () => {
  it("of the model: listed, and each by its name, slashes and all", async () => {
    const { client } = await openDoor({ info: { name: "Qwen/Qwen3-VL 2B", contextTokens: 4096 } });
    const served = await client.models.retrieve("Qwen/Qwen3-VL 2B");
    expect(served).toMatchObject({ id: "Qwen/Qwen3-VL 2B", object: "model", max_model_len: 4096 });
    expect((await client.models.list()).data).toEqual([served]);
    await expect(client.models.retrieve("other")).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
      param: "model",
    });
  });

  it.each([
    ["GET", "/v1/chat/completions", 405, "method-not-allowed"],
    ["DELETE", "/v1/models", 405, "method-not-allowed"],
    ["POST", "/v1/models/eyes", 405, "method-not-allowed"],
    ["OPTIONS", "/v1/chat/completions", 405, "method-not-allowed"],
    ["POST", "/v1/embeddings", 404, "not-found"],
    ["POST", "/v1/v1/chat/completions", 404, "not-found"],
  ])(
    "that are not there are refused in its own form: %s %s",
    async (method, path, status, code) => {
      const { server } = await openDoor();
      const response = await fetch(`${server.url}${path}`, { method });
      if (status === 405) expect(response.headers.get("allow")).toMatch(/GET|POST/u);
      expect(await errorOf(response)).toMatchObject({
        status,
        code,
        type: "invalid_request_error",
        message: expect.any(String),
      });
    },
  );

  it.each(["/chat/completions", "/v1/v1/chat/completions", "/models"])(
    "with a part too few or too many are set right: %s",
    async (path) => {
      const { server } = await openDoor();
      const response = await fetch(`${server.url}${path}`, { method: "POST" });
      expect(response.status).toBe(404);
      expect(await response.text()).toContain("a base URL ends in `/v1`");
    },
  );

  it("answer HEAD without a body", async () => {
    const { server } = await openDoor();
    const response = await fetch(`${server.url}/v1/models`, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });

  it("are closed to pages of other sites, which a browser says", async () => {
    const { post } = await openDoor();
    const error = await errorOf(await post(question, { Origin: "https://example.com" }));
    expect(error).toMatchObject({ status: 403, code: "foreign-origin" });
  });
});

describe("a body", () => {
  it.each(["text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"])(
    "is JSON whatever its headers say: %s",
    async (type) => {
      const { post } = await openDoor({ answer: "好" });
      expect((await post(question, { "Content-Type": type })).status).toBe(200);
    },
  );

  it.each([
    ["compressed", JSON.stringify(question), { "Content-Encoding": "gzip" }, /compressed/u],
    ["cut off", '{"messages":[{"role":"user","content":"CANARY', {}, /not valid JSON/u],
    ["missing", "", {}, /not valid JSON/u],
    ["a form", "model=eyes&messages=CANARY", {}, /not valid JSON/u],
  ])("that is %s is refused", async (_what, body, headers, message) => {
    const { post } = await openDoor();
    const error = await errorOf(await post(body, headers as Record<string, string>));
    expect(error).toMatchObject({ status: 400, code: "bad-json" });
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("CANARY");
  });
});

describe("places for requests", () => {
  const unfinished = async (url: string) => {
    const { port } = new URL(url);
    const socket = connect(Number(port), "127.0.0.1");
    let heard = "";
    socket.on("data", (data) => {
      heard += String(data);
    });
    // The server may hang up at any moment.
    socket.on("error", () => {});
    await new Promise<void>((resolve) => {
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 100\r\n` +
          "Expect: 100-continue\r\n\r\n",
        () => resolve(),
      );
    });
    // The server has seen it.
    await expect.poll(() => heard).toContain("100 Continue");
    return { socket, heard: () => heard };
  };

  afterEach(() => {
    vi.useRealTimers();
  });

  it("are taken by those who send nothing only as long as nobody else wants them", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const { post, server } = await openDoor({ answer: "好" }, { limits: { maxRequests: 2 } });
    const idle = [await unfinished(server.url), await unfinished(server.url)];
    const refused = await post(question);
    expect(refused.headers.get("retry-after")).toBe("5");
    expect(await errorOf(refused)).toMatchObject({
      status: 429,
      code: "rate_limit_exceeded",
      type: "rate_limit_error",
    });
    vi.advanceTimersByTime(5_000);
    expect((await post(question)).status).toBe(200);
    const heard = () => idle.map(({ heard }) => heard()).join();
    await expect.poll(heard).toContain("HTTP/1.1 408 Request Timeout");
    // The other one is left alone.
    expect(idle.filter(({ heard }) => heard().includes("408"))).toHaveLength(1);
    for (const { socket } of idle) socket.destroy();
  });
});
