// Answers of a form in the flow of an answer: behind thoughts, in place of calls, in circles, cut off. A token is a byte;
// the model writes what its script says wherever that may come, and else the first token that may.

import { describe, expect, it } from "vitest";
import type { ResponseFormat } from "../../../src/vlm/vision-language-model.ts";
import {
  bytes,
  END,
  formats,
  id,
  type ScriptOptions,
  writeByScript,
} from "../../support/byte-answers.ts";

async function run(script: readonly number[], format: ResponseFormat, options?: ScriptOptions) {
  return writeByScript(script, { constraint: await formats.constraint(format), ...options });
}

describe("an answer of a form", () => {
  const choice = { type: "choice", options: ["yes", "no"] } as const;

  it("begins behind the thought, which is free", async () => {
    const script = [...bytes("hm, no form here"), id("</think>"), ...bytes("\n\nno"), END];
    expect(await run(script, choice, { thinking: true })).toMatchObject({
      reasoning: "hm, no form here",
      text: "no",
      finishReason: "stop",
      incomplete: false,
    });
  });

  it("begins behind a thought that was closed for the model", async () => {
    const answer = await run(bytes("thinking on "), choice, {
      thinking: true,
      maxReasoningTokens: 9,
    });
    expect(answer.reasoning).toBe("thinking");
    expect(choice.options).toContain(answer.text);
    expect(answer.finishReason).toBe("stop");
  });

  it("keeps line breaks of its own behind a thought", async () => {
    const script = [...bytes("hm"), id("</think>"), ...bytes("\n\nx"), END];
    const format = { type: "regex", pattern: "\\n{3}x" } as const;
    const answer = await run(script, format, { thinking: true });
    expect(answer.text).toBe("\n\n\nx");
  });

  it("is shown as it is where it looks like a thought", async () => {
    const pattern = "<think>a</think>b";
    expect(await run(bytes(pattern), { type: "regex", pattern })).toMatchObject({
      text: pattern,
      reasoning: "",
    });
  });

  it("is ended in its form when it goes in circles", async () => {
    const schema = { type: "array", items: { type: "string" } };
    const script = bytes(`["${"the same words again and again ".repeat(30)}`);
    const answer = await run(script, { type: "json", schema });
    expect(answer.finishReason).toBe("repetition");
    expect(answer.incomplete).toBe(false);
    expect(Array.isArray(JSON.parse(answer.text))).toBe(true);
  });

  it("is ended in its form before its room is used up, at every length", async () => {
    const schema = {
      type: "object",
      properties: {
        a: { type: "array", items: { type: "string", minLength: 2 } },
        b: { type: "null" },
      },
      required: ["a", "b"],
    };
    const script = bytes('{"a": ["one", "two", "three"], "b": null}');
    const shortest = '{"a":[],"b":null}'.length;
    for (let maxTokens = 1; maxTokens < 60; maxTokens++) {
      const answer = await run(script, { type: "json", schema }, { maxTokens });
      expect(answer.completionTokens).toBeLessThanOrEqual(maxTokens);
      expect(answer.incomplete).toBe(maxTokens < shortest);
      if (!answer.incomplete) expect(JSON.parse(answer.text)).toHaveProperty("b", null);
      else expect(answer.finishReason).toBe("max-tokens");
    }
    const cut = await run(script, { type: "json", schema }, { contextRoom: 24 });
    expect(cut).toMatchObject({ finishReason: "context-full", incomplete: false });
  });

  it("says that it is not whole when a stop string cuts it", async () => {
    const script = bytes('["a stop b"]');
    expect(await run(script, { type: "json" }, { stop: ["stop"] })).toMatchObject({
      text: '["a ',
      finishReason: "stop-string",
      incomplete: true,
    });
  });

  it("may be a call of a tool instead, but not once it has begun", async () => {
    const tools = [{ name: "f", parameters: {} }];
    const call = [
      id("<tool_call>"),
      ...bytes('{"name": "f", "arguments": {}}'),
      id("</tool_call>"),
    ];
    expect(await run([...call, END], choice, { tools })).toMatchObject({
      calls: ["f({})"],
      text: "",
      finishReason: "tool-calls",
      incomplete: false,
    });
    const late = await run([...bytes("y"), ...call, END], choice, { tools });
    expect(late).toMatchObject({ calls: [], text: "yes" });
  });

  it("is no call because it looks like one", async () => {
    const tools = [{ name: "f", parameters: {} }];
    const text = '{"name": "f", "arguments": {}}';
    const answer = await run(bytes(text), { type: "json" }, { tools });
    expect(answer).toMatchObject({ calls: [], text, finishReason: "stop" });
  });
});

describe("a call that has to be made", () => {
  const tools = [
    {
      name: "weather",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  ];

  it("has the arguments of its tool, however short its room", async () => {
    for (let maxTokens = 1; maxTokens < 90; maxTokens += 2) {
      const { calls, finishReason, incomplete, text } = await run(
        bytes("What would you like to know? "),
        { type: "json" },
        {
          tools,
          toolChoice: "required",
          constraint: undefined,
          callConstraint: await formats.callConstraint(tools),
          maxTokens,
        },
      );
      expect(text).toBe("");
      if (incomplete) expect(finishReason).toBe("max-tokens");
      else {
        expect(finishReason).toBe("tool-calls");
        expect(calls).toHaveLength(1);
        expect(calls[0]).toMatch(/^weather\(\{"city":".*"\}\)$/u);
      }
    }
  });
});
