// Tools that a model calls by itself: a tiny chat model whose head begins its answers with the mark of a call, and would
// never write JSON. End to end, with and without guesses, beside others.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadQwen3Vl, type Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import { opensThoughts, tinyChatWithHead, writeInstead } from "../support/own-head.ts";
import { userMessage } from "../support/tiny-chat.ts";
import { loadTinyChat as loadTokenizer } from "./text/tokenizers.ts";

const PARAMETERS = {
  type: "object",
  properties: {
    city: { type: "string", maxLength: 8 },
    days: { enum: [1, 3, 7] },
    tags: { type: "array", items: { enum: ["again", "and again"] }, minItems: 3, maxItems: 6 },
  },
  required: ["city", "days", "tags"],
  additionalProperties: false,
};
const TOOLS = [
  { type: "function", function: { name: "weather", parameters: PARAMETERS, strict: true } },
];
const messages = [userMessage("你好")];
const validate = new Ajv2020().compile(PARAMETERS);

describe("a model that calls tools by itself", () => {
  let directory: string;
  let model: Qwen3VlModel;
  let plain: Qwen3VlModel;
  let thinking: Qwen3VlModel;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "napcat-vlm-calls-"));
    const tokenizer = await loadTokenizer();
    // What it says where it knows nothing to say, as it does behind a list of tools.
    const [nothing = -1] = tokenizer.encodeText("我只会看图");
    const open = tokenizer.specialId("<tool_call>");
    const checkpoint = await tinyChatWithHead(join(directory, "model"), (rows) =>
      writeInstead(rows, nothing, open),
    );
    const options = { precision: "fp32", onWarning: () => {} } as const;
    model = await loadQwen3Vl({ ...options, model: checkpoint, maxConcurrent: 4 });
    plain = await loadQwen3Vl({ ...options, model: checkpoint, speculation: false });
    const thinker = await tinyChatWithHead(join(directory, "thinking"), (rows) =>
      writeInstead(rows, nothing, open),
    );
    await opensThoughts(thinker);
    thinking = await loadQwen3Vl({ ...options, model: thinker });
  });
  afterAll(async () => {
    await model.dispose();
    await plain.dispose();
    await thinking.dispose();
    await rm(directory, { recursive: true, force: true });
  });

  it("gives them arguments of their schema at any temperature, and the same with guesses", async () => {
    for (const [temperature, seed] of [
      [0, 1],
      [1.5, 3],
    ] as const) {
      // What is random draws once for every token, guessed or not.
      const request = { messages, tools: TOOLS, temperature, seed, maxTokens: 150 };
      const [guessed, stepped] = [await model.generate(request), await plain.generate(request)];
      expect(guessed.toolCalls).toEqual(stepped.toolCalls);
      expect(guessed.text).toBe(stepped.text);
      for (const { name, arguments: given, invalid } of stepped.toolCalls) {
        expect({ name, invalid }).toEqual({ name: "weather" });
        expect(validate(JSON.parse(given)), given).toBe(true);
      }
      if (temperature < 1) expect(stepped.toolCalls).not.toEqual([]);
    }
  });

  it("leaves those who write beside it alone", async () => {
    const free = { messages, temperature: 0, maxTokens: 24 };
    const alone = await model.generate(free);
    const asked = { ...free, tools: TOOLS, maxTokens: 150 };
    const [one, called, other] = await Promise.all([
      model.generate(free),
      model.generate(asked),
      model.generate(free),
    ]);
    expect([one.text, other.text]).toEqual([alone.text, alone.text]);
    expect(called.toolCalls).toEqual((await plain.generate(asked)).toolCalls);
  });

  it("answers others on where a call is aborted at any moment, its form made or not", async () => {
    const free = { messages, temperature: 0, maxTokens: 24 };
    const before = await model.generate(free);
    for (const turns of [0, 1, 5, 20, 80, 300]) {
      // A form that nobody has made yet.
      const described = { name: `weather${turns}`, parameters: PARAMETERS };
      const stop = new AbortController();
      const asked = model
        .generate({
          ...free,
          tools: [{ type: "function", function: described }],
          maxTokens: 150,
          signal: stop.signal,
        })
        .then(
          () => "answered",
          (error: unknown) => error,
        );
      for (let turn = 0; turn < turns; turn++) await setImmediate();
      const reason = new Error("enough");
      stop.abort(reason);
      expect(["answered", reason]).toContain(await asked);
    }
    expect((await model.generate(free)).text).toBe(before.text);
  });

  it("thinks of calls without making them", async () => {
    const request = { messages, tools: TOOLS, temperature: 0, maxReasoningTokens: 12 };
    const { reasoning, toolCalls } = await thinking.generate({ ...request, maxTokens: 150 });
    expect(reasoning).toContain("<tool_call>");
    for (const { arguments: given } of toolCalls) expect(validate(JSON.parse(given))).toBe(true);
  });

  it("refuses a strict tool whose schema it cannot keep, by name, before anything is written", async () => {
    const parameters = { type: "object", properties: { a: { type: "array", uniqueItems: true } } };
    const odd = { type: "function", function: { name: "odd", parameters, strict: true } };
    await expect(model.generate({ messages, tools: [...TOOLS, odd] })).rejects.toMatchObject({
      name: "ResponseFormatError",
      keyword: "uniqueItems",
      message: expect.stringContaining('"odd"'),
    });
    const loose = { type: "function", function: { name: "odd", parameters } };
    const answer = await model.generate({
      messages,
      tools: [loose],
      temperature: 0,
      maxTokens: 99,
    });
    for (const { name } of answer.toolCalls) expect(name).toBe("odd");
  });
});
