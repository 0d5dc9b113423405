import { describe, expect, it } from "vitest";
import { readToolCalls } from "../../../src/vlm/text/tool-call-text.ts";

const TOOLS = [
  {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer" }, tags: { type: "array" } },
    },
  },
];

const PARIS = [{ name: "weather", arguments: '{"city":"巴黎","days":2}' }];

describe("a call of a tool", () => {
  it.each([
    ["as taught", '\n{"name": "weather", "arguments": {"city": "巴黎", "days": 2}}\n'],
    ["a brace too few", '{"name": "weather", "arguments": {"city": "巴黎", "days": 2}'],
    ["a brace too many", '{"name": "weather", "arguments": {"city": "巴黎", "days": 2}}}'],
    [
      "a pair of braces around it",
      '{{"name": "weather", "arguments": {"city": "巴黎", "days": 2}}}',
    ],
    [
      "arguments as text",
      '{"name": "weather", "arguments": "{\\"city\\": \\"巴黎\\", \\"days\\": 2}"}',
    ],
    [
      "arguments as text, twice",
      JSON.stringify({
        name: "weather",
        arguments: JSON.stringify(JSON.stringify({ city: "巴黎", days: 2 })),
      }),
    ],
    ["a space in a key", '{"name": "weather", " arguments": {"city": "巴黎", "days": 2}}'],
    ["another key", '{"name": "weather", "parameters": {"city": "巴黎", "days": 2}}'],
    ["single quotes", "{'name': 'weather', 'arguments': {'city': '巴黎', 'days': 2}}"],
    ["a fence", '```json\n{"name": "weather", "arguments": {"city": "巴黎", "days": 2}}\n```'],
    [
      "words behind it",
      '{"name": "weather", "arguments": {"city": "巴黎", "days": 2}} 好的，我来查',
    ],
    [
      "OpenAI's form",
      '{"type": "function", "function": {"name": "weather", "arguments": {"city": "巴黎", "days": 2}}}',
    ],
    [
      "the Coder's form",
      "<function=weather>\n<parameter=city>\n巴黎\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>",
    ],
    [
      "the Coder's form, half of its tags missing",
      "function=weather>\n<parameter=city>巴黎<parameter=days>2",
    ],
  ])("is read with %s", (_what, block) => {
    expect(readToolCalls(block, TOOLS)).toEqual(PARIS);
  });

  it("keeps types where the schema has them, and text where it says text", () => {
    const block =
      '<function=weather><parameter=city>2</parameter><parameter=tags>["a"]</parameter></function>';
    expect(readToolCalls(block, TOOLS)).toEqual([
      { name: "weather", arguments: '{"city":"2","tags":["a"]}' },
    ]);
  });

  it("with Python's literals and bare line breaks is repaired", () => {
    expect(
      readToolCalls('{"name": "f", "arguments": {"a": None, "b": True, "c": "x\ny"}}', []),
    ).toEqual([{ name: "f", arguments: '{"a":null,"b":true,"c":"x\\ny"}' }]);
  });

  it.each([
    ['{"name": "f", "arguments": null}', "{}"],
    ['{"name": "f"}', "{}"],
    ['{"name": "f", "arguments": ""}', "{}"],
    ['{"name": "f", "arguments": {}}', "{}"],
  ])("without arguments has empty ones: %s", (block, expected) => {
    expect(readToolCalls(block, [])).toEqual([{ name: "f", arguments: expected }]);
  });

  it("may be one of several in a block", () => {
    const two = '{"name": "f", "arguments": {"s": "}{"}}\n{"name": "g", "arguments": {}}';
    expect(readToolCalls(two, []).map(({ name }) => name)).toEqual(["f", "g"]);
    expect(readToolCalls('[{"name": "f", "arguments": {}}, {"name": "g"}]', [])).toHaveLength(2);
  });

  it.each([
    "",
    "好的",
    "{}",
    '{"arguments": {}}',
    '{"name": 5}',
    '{"name": "f", "arguments": [1]}',
    "<function=unknown></function>",
  ])("is none where nothing can be made of %j", (block) => {
    expect(readToolCalls(block, TOOLS)).toEqual([]);
  });
});
