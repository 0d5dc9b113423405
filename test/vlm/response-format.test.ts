// Answers of some form from a real model: the tiny chat model, which would never write JSON by itself.

import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

const SCHEMA = {
  type: "object",
  properties: {
    animal: { enum: ["cat", "dog", "猫"] },
    count: { type: "integer", minimum: 0, maximum: 20 },
    tags: { type: "array", items: { type: "string", maxLength: 5 }, maxItems: 3 },
  },
  required: ["animal", "count", "tags"],
  additionalProperties: false,
};
const messages = [userMessage("你好")];

describe("a model that is asked for a form", () => {
  let model: Qwen3VlModel;
  let plain: Qwen3VlModel;

  beforeAll(async () => {
    model = await loadTinyChat({ maxConcurrent: 4 });
    plain = await loadTinyChat({ speculation: false });
  });
  afterAll(async () => {
    await model.dispose();
    await plain.dispose();
  });

  it("keeps to it at any temperature and any length", async () => {
    const validate = new Ajv2020().compile(SCHEMA);
    const responseFormat = { type: "json", schema: SCHEMA } as const;
    const asked = Array.from({ length: 24 }, (_, i) =>
      plain.generate({
        messages,
        responseFormat,
        temperature: i % 3,
        topK: (i % 4) * 10,
        topP: i % 2 === 0 ? 1 : 0.9,
        repetitionPenalty: 1 + (i % 3) / 10,
        seed: i,
        maxTokens: 20 + 6 * i,
      }),
    );
    for (const { text, incomplete, usage } of await Promise.all(asked)) {
      if (incomplete) expect(usage.completionTokens).toBeLessThan(40);
      else expect(validate(JSON.parse(text)), text).toBe(true);
    }
  });

  it("leaves those who write beside it alone", async () => {
    const free = { messages, temperature: 0, maxTokens: 24 };
    const alone = await model.generate(free);
    const choice = { type: "choice", options: ["yes", "no", "perhaps"] } as const;
    const [one, chosen, other] = await Promise.all([
      model.generate(free),
      model.generate({ ...free, responseFormat: choice }),
      model.generate(free),
    ]);
    expect(one.text).toBe(alone.text);
    expect(other.text).toBe(alone.text);
    expect(choice.options).toContain(chosen.text);
  });

  it("writes the same with guesses as without", async () => {
    const request = {
      messages,
      responseFormat: { type: "regex", pattern: "(ab ){3,12}(猫|dog)" },
      temperature: 0,
    } as const;
    const [guessed, stepped] = [await model.generate(request), await plain.generate(request)];
    expect(guessed.text).toBe(stepped.text);
    expect(guessed.text).toMatch(/^(ab ){3,12}(猫|dog)$/u);
  });

  it("calls a tool with arguments of its schema, whatever it would have written", async () => {
    const weather = {
      name: "weather",
      parameters: {
        type: "object",
        properties: { city: { type: "string", maxLength: 8 }, days: { enum: [1, 3, 7] } },
        required: ["city", "days"],
        additionalProperties: false,
      },
    };
    const search = { name: "search", parameters: { type: "object", minProperties: 1 } };
    const validate = new Ajv2020().compile(weather.parameters);
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const { toolCalls, finishReason, incomplete, text } = await plain.generate({
        messages,
        tools: [weather, search].map((described) => ({ type: "function", function: described })),
        toolChoice: seed % 2 === 0 ? "required" : { name: "weather" },
        temperature: 1.3,
        seed,
        maxTokens: 40 + 10 * seed,
      });
      expect({ finishReason, incomplete, text }).toEqual({ finishReason: "tool-calls", text: "" });
      const [call] = toolCalls;
      expect(call?.invalid).toBeUndefined();
      const given: unknown = JSON.parse(call?.arguments ?? "");
      if (call?.name === "weather") expect(validate(given), call.arguments).toBe(true);
      else expect(call?.name).toBe("search");
    }
  });

  it("may call a tool in place of an answer of the form", async () => {
    const { text, toolCalls, finishReason } = await model.generate({
      messages,
      tools: [{ name: "f", parameters: { type: "object" } }],
      responseFormat: { type: "choice", options: ["yes", "no"] },
      temperature: 0,
    });
    if (finishReason === "tool-calls") expect(toolCalls).not.toEqual([]);
    else expect(["yes", "no"]).toContain(text);
  });

  it("refuses a form that it cannot keep, by name, and goes on", async () => {
    const refused = model.generate({
      messages,
      responseFormat: { type: "json", schema: { type: "array", uniqueItems: true } },
    });
    await expect(refused).rejects.toMatchObject({
      name: "ResponseFormatError",
      keyword: "uniqueItems",
      path: "schema",
    });
    const lookahead = { type: "regex", pattern: "(?=a)b" } as const;
    await expect(model.generate({ messages, responseFormat: lookahead })).rejects.toMatchObject({
      keyword: "lookahead",
    });
    expect((await model.generate({ messages, maxTokens: 2 })).text).not.toBe("");
  });
});
