// Calls that a model makes by itself, held to the tools it was given: between texts, several, in thoughts, cut off, with
// schemas that cannot be kept. A token is a byte; the model writes its script wherever that may come.

import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { ResponseFormatError } from "../../../src/vlm/errors.ts";
import { type CallForm, HeldCalls } from "../../../src/vlm/text/held-calls.ts";
import type { KnownTool } from "../../../src/vlm/text/tool-call-text.ts";
import { bytes, END, formats, id, writeByScript } from "../../support/byte-answers.ts";

const WEATHER = {
  name: "weather",
  parameters: {
    type: "object",
    properties: { city: { type: "string", maxLength: 8 }, days: { enum: [1, 3, 7] } },
    required: ["city", "days"],
    additionalProperties: false,
  },
};
const CLOCK = { name: "clock", parameters: undefined };
const OPEN = id("<tool_call>");
const CLOSE = id("</tool_call>");

const heldTo = (tools: readonly KnownTool[]): CallForm => ({
  begin: () => formats.callConstraint(tools),
  strict: tools.some(({ strict }) => strict),
});
const held = (tools: readonly KnownTool[]) => ({ tools, callForm: heldTo(tools) });
/** For what the model writes longer than it wanted to. */
const ENDS = Array.from({ length: 200 }, () => END);
const call = (text: string) => [OPEN, ...bytes(text), CLOSE];

describe("calls that the model makes by itself", () => {
  it("are held to a tool's name and schema, whatever the model would write", async () => {
    const validate = new Ajv2020().compile(WEATHER.parameters);
    const attempts = [
      '\n{"name": "weather", "arguments": {"days": 2}}\n',
      '{"name": "unknown", "arguments": {"city": "a city with a long name", "days": 7, "more": 1}}',
      "<function=weather><parameter=city>Oslo</parameter></function>",
      "no JSON at all",
    ];
    for (const attempt of attempts) {
      const { calls, finishReason } = await writeByScript(
        [...call(attempt), ...ENDS],
        held([WEATHER]),
      );
      expect(finishReason, attempt).toBe("tool-calls");
      expect(calls).toHaveLength(1);
      const given = /^weather\((.*)\)$/su.exec(calls[0] ?? "")?.[1];
      expect(validate(JSON.parse(given ?? "")), calls[0]).toBe(true);
    }
  });

  it("leave what stands before, between and behind them alone, and let nobody look for tokens there", async () => {
    const one = '\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}\n';
    const two = '\n{"name": "clock", "arguments": {}}\n';
    const script = [
      ...bytes("Let me see. "),
      ...call(one),
      ...bytes(" And "),
      ...call(two),
      ...bytes("?"),
      END,
    ];
    const answer = await writeByScript(script, held([WEATHER, CLOCK]));
    expect(answer).toMatchObject({
      text: "Let me see.  And ?",
      calls: ['weather({"city":"Oslo","days":3})', "clock({})"],
      finishReason: "tool-calls",
      masked: bytes(one + two).length,
      completionTokens: script.length - 1,
    });
    const free = await writeByScript([...bytes("Nothing to call."), END], held([WEATHER]));
    expect(free).toMatchObject({ masked: 0, text: "Nothing to call.", finishReason: "stop" });
  });

  it("are text inside a thought", async () => {
    const inside = call('{"name": "nothing", "arguments": 1}');
    const script = [
      ...bytes("hm "),
      ...inside,
      id("</think>"),
      ...bytes("\n\n"),
      ...call('\n{"name": "clock", "arguments": {}}\n'),
      END,
    ];
    const answer = await writeByScript(script, { ...held([CLOCK]), thinking: true });
    expect(answer.reasoning).toContain('{"name": "nothing", "arguments": 1}');
    expect(answer.calls).toEqual(["clock({})"]);
  });

  it("come in place of an answer of a form", async () => {
    const answer = await writeByScript([...call("anything"), ...ENDS], {
      ...held([WEATHER]),
      constraint: await formats.constraint({ type: "choice", options: ["yes", "no"] }),
    });
    expect(answer).toMatchObject({ text: "", finishReason: "tool-calls", incomplete: false });
    expect(answer.calls[0]).toMatch(/^weather\(/u);
  });

  it("are not made where the room ends inside of one", async () => {
    const script = [
      ...call('\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}\n'),
      END,
    ];
    const answer = await writeByScript(script, { ...held([WEATHER]), maxTokens: 30 });
    expect(answer).toMatchObject({ calls: [], text: "", finishReason: "max-tokens" });
  });

  it("hold arguments that look like tags", async () => {
    const text = '{"name": "clock", "arguments": {"at": "<parameter=x>1</parameter>"}}';
    const { calls } = await writeByScript([...call(`\n${text}\n`), END], held([CLOCK]));
    expect(calls).toEqual(['clock({"at":"<parameter=x>1</parameter>"})']);
  });

  it("are JSON where a schema cannot be kept, and refused where its tool is strict", async () => {
    const parameters = { type: "object", properties: { a: { type: "array", uniqueItems: true } } };
    const odd = { name: "odd", parameters };
    const text = '\n{"name": "odd", "arguments": {"a": [1, 1]}}\n';
    const { calls } = await writeByScript([...call(text), END], held([odd, WEATHER]));
    expect(calls).toEqual(['odd({"a":[1,1]})']);
    const strict = formats.callConstraint([WEATHER, { ...odd, strict: true }]);
    await expect(strict).rejects.toMatchObject({
      name: "ResponseFormatError",
      code: "response-format-unsupported",
      keyword: "uniqueItems",
      path: "schema/properties/a",
      tool: "odd",
      message: expect.stringContaining('tool "odd"'),
    });
    const list = { name: "list", parameters: { type: "array" }, strict: true };
    await expect(formats.callConstraint([list])).rejects.toMatchObject({ keyword: "type" });
    const pattern = { type: "object", properties: { a: { type: "string", pattern: "(?=a)b" } } };
    await expect(
      formats.callConstraint([{ name: "p", parameters: pattern, strict: true }]),
    ).rejects.toMatchObject({ keyword: "lookahead" });
  });

  it("are written freely where their form fails on the way, unless a tool is strict", async () => {
    const refusal = new ResponseFormatError("response-format-too-complex", "It is too much.");
    const begin = () => Promise.reject(refusal);
    const script = [...call('{"name": "clock", "arguments": {}}'), END];
    const free = await writeByScript(script, {
      tools: [CLOCK],
      callForm: { begin, strict: false },
    });
    expect(free).toMatchObject({ calls: ["clock({})"], masked: 0, finishReason: "tool-calls" });
    const strict = writeByScript(script, { tools: [CLOCK], callForm: { begin, strict: true } });
    await expect(strict).rejects.toBe(refusal);
  });

  it("say what is wrong where tokens are asked for, and nowhere else", async () => {
    const refusal = new ResponseFormatError("response-format-too-complex", "It is too much.");
    const form = { begin: () => Promise.reject(refusal), strict: true };
    const calls = new HeldCalls(form, OPEN, CLOSE);
    calls.take(OPEN, true);
    await calls.prepare();
    // Whoever runs many answers asks these before it deals with what goes wrong in one.
    expect([calls.prepare(), calls.due, calls.on]).toEqual([undefined, undefined, true]);
    expect(() => calls.mask).toThrow(refusal);
    // What must not come cannot go unnoticed, either.
    const late = new HeldCalls(heldTo([CLOCK]), OPEN, CLOSE);
    late.take(OPEN, true);
    await late.prepare();
    late.take(bytes("x")[0]!, true);
    expect([late.prepare(), late.due]).toEqual([undefined, undefined]);
    expect(() => late.mask).toThrow("cannot come here");
  });

  it("of strict tools are known by their marks alone", async () => {
    const text = '{"name": "weather", "arguments": {"days": 9}}';
    const loose = await writeByScript([...bytes(text), END], held([WEATHER]));
    expect(loose.calls).toEqual(['weather({"days":9})']);
    const strict = await writeByScript([...bytes(text), END], held([{ ...WEATHER, strict: true }]));
    expect(strict).toMatchObject({ calls: [], text, finishReason: "stop" });
  });
});
