// Typed data from a model: what the schema wants, or an error that says why not.

import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { extract } from "../../src/vlm/extract.ts";
import type { Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import { FakeVisionLanguageModel } from "../../src/vlm/testing.ts";
import { drawShapes } from "../support/draw.ts";
import { loadTinyChat } from "../support/tiny-chat.ts";

const Everything = z.object({
  shape: z.enum(["circle", "square"]),
  count: z.int().min(0).max(9),
  ratio: z.number().gt(0).lt(1),
  name: z.string().min(1).max(12).optional(),
  at: z.iso.datetime().nullable(),
  mail: z.email(),
  id: z.uuid(),
  tags: z.array(z.string().max(4)).max(2).default([]),
  kind: z.discriminatedUnion("type", [
    z.object({ type: z.literal("a"), a: z.boolean() }),
    z.object({ type: z.literal("b"), b: z.tuple([z.int(), z.int()]) }),
  ]),
  more: z.record(z.string(), z.null()),
});

describe("extract", () => {
  let model: Qwen3VlModel;
  beforeAll(async () => {
    model = await loadTinyChat();
  });
  afterAll(() => model.dispose());

  it("gives a value of the type that a zod schema has", async () => {
    const images = [await drawShapes([{ shape: "circle", color: "red" }])];
    for (const [seed, temperature] of [0, 1, 1.5].entries()) {
      const value = await extract(model, { schema: Everything, images, temperature, seed });
      expectTypeOf(value).toEqualTypeOf<z.output<typeof Everything>>();
      expect(Everything.safeParse(value).success).toBe(true);
    }
  });

  it("asks for the form in words and as a response format", async () => {
    const fake = new FakeVisionLanguageModel({ answer: '{"n": 3}' });
    const schema = z.object({ n: z.int().describe("how many cats") });
    const images = [Uint8Array.of(1)];
    expect(await extract(fake, { schema, images, prompt: "数一数", seed: 4 })).toEqual({ n: 3 });
    const [request] = fake.requests;
    expect(request).toMatchObject({ seed: 4, responseFormat: { type: "json" } });
    expect(request?.messages[0]?.content).toMatchObject([
      { type: "image" },
      { type: "text", text: expect.stringMatching(/^数一数[\s\S]*how many cats/u) },
    ]);
  });

  it("says where an answer is not what the schema wants", async () => {
    const schema = z.object({ n: z.int().refine((n) => n % 2 === 0) });
    const extracted = (answer: string) =>
      extract(new FakeVisionLanguageModel({ answer }), { schema });
    await expect(extracted('{"n": 3}')).rejects.toMatchObject({
      code: "response-format-missed",
      path: "n",
    });
    await expect(extracted("three")).rejects.toMatchObject({ code: "response-format-missed" });
  });

  it("says when there was no room for the shortest answer", async () => {
    const short = extract(model, { schema: Everything, maxTokens: 5 });
    await expect(short).rejects.toMatchObject({ code: "response-format-missed" });
  });
});
