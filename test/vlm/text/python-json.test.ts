import { describe, expect, it } from "vitest";
import { toPythonJson } from "../../../src/vlm/text/python-json.ts";

// Expected values: json.dumps(value, ensure_ascii=False) of CPython 3.12.
describe("toPythonJson", () => {
  it.each([
    [{ a: 1, b: [true, false, null] }, '{"a": 1, "b": [true, false, null]}'],
    [{ a: {}, b: [] }, '{"a": {}, "b": []}'],
    ["é 世界 👍 \u2028", '"é 世界 👍 \u2028"'],
    ['"\\\n\t\u0001', '"\\"\\\\\\n\\t\\u0001"'],
    [0.5, "0.5"],
    [-12, "-12"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [-2.5e-7, "-2.5e-07"],
    [1.25e-12, "1.25e-12"],
    [1e21, "1e+21"],
  ])("writes %j as Python does", (value, text) => {
    expect(toPythonJson(value)).toBe(text);
  });

  it("leaves out what JSON cannot hold, as JSON.stringify does", () => {
    expect(toPythonJson({ a: undefined, b: [undefined], c: () => 1 })).toBe('{"b": [null]}');
    expect(toPythonJson({ at: new Date(0) })).toBe('{"at": "1970-01-01T00:00:00.000Z"}');
  });

  it("refuses a value that contains itself", () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(() => toPythonJson(loop)).toThrow(TypeError);
  });
});
