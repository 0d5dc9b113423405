import { describe, expect, it } from "vitest";
import {
  either,
  integer,
  kindsOf,
  list,
  literal,
  nonEmptyText,
  number,
  numberAbove,
  object,
  oneOf,
  openObject,
  parseOptions,
  text,
  unexpected,
} from "../src/parse-options.ts";

const refusal = (schema: Parameters<typeof parseOptions>[0], value: unknown) => {
  try {
    parseOptions(object({ n: schema }), { n: value }, "the options");
  } catch (error) {
    return error as Error;
  }
  throw new Error("The value was taken.");
};

describe("a number", () => {
  it.each([
    [integer(1), 0, RangeError, "Expected `n` to be an integer >= 1, got `0` (number)."],
    [integer(1), 1.5, RangeError, "Expected `n` to be an integer >= 1, got `1.5` (number)."],
    [number(0, 1), 2, RangeError, "Expected `n` to be a number >= 0 and <= 1, got `2` (number)."],
    [numberAbove(0), 0, RangeError, "Expected `n` to be a number > 0, got `0` (number)."],
    [number(0), "7", TypeError, "Expected `n` to be a number >= 0, got `7` (string)."],
    [number(0), Number.NaN, TypeError, "Expected `n` to be a number >= 0, got `NaN` (number)."],
    [number(0), null, TypeError, "Expected `n` to be a number >= 0, got `null`."],
    [number(0), [1, 2], TypeError, "Expected `n` to be a number >= 0, got an array of 2."],
  ])("out of its range or of another kind is refused: %#", (schema, value, kind, message) => {
    expect(refusal(schema, value)).toBeInstanceOf(kind);
    expect(refusal(schema, value).message).toBe(message);
  });

  it("in its range is taken", () => {
    expect(() => parseOptions(object({ n: integer(1, 1) }), { n: 1 }, "x")).not.toThrow();
  });
});

describe("an error", () => {
  it("names what was expected and what came", () => {
    expect(refusal(oneOf(["fp32", "q4"]), "q8").message).toBe(
      'Expected `n` to be one of "fp32", "q4", got `q8` (string).',
    );
    expect(refusal(nonEmptyText(), "").message).toMatch(/^Expected `n` to be a non-empty string/);
    expect(() => parseOptions(object({ a: integer(0) }), { a: 1, b: 2 }, "this")).toThrow(
      "Unknown option `b` of this. Known are a.",
    );
    expect(() => parseOptions(object({}), 3, "this")).toThrow("Expected `this` to be an object");
  });

  it("has a line for each mistake, and is a TypeError if any is one of kind", () => {
    const schema = object({ a: integer(1), b: text() });
    const check = () => parseOptions(schema, { a: 0, b: 1, c: 2 }, "this");
    expect(check).toThrow(TypeError);
    expect(check).toThrow(/`a`.*\n.*`b`.*\n.*`c`/u);
  });

  it("names the place inside a list, and inside one kind of several", () => {
    const part = kindsOf(
      "type",
      [openObject({ type: literal("text"), text: text() }, "a part")],
      ["text"],
      "a part",
    );
    const schema = either([text(), list(part, "parts")], "a string or parts");
    expect(refusal(schema, [{ type: "text", text: 5 }]).message).toBe(
      "Expected `n[0].text` to be a string, got `5` (number).",
    );
    expect(refusal(schema, [{ type: "sound" }]).message).toBe(
      'Expected `n[0].type` to be one of "text", got `sound` (string).',
    );
    expect(refusal(schema, [7]).message).toBe("Expected `n[0]` to be a part, got `7` (number).");
    expect(refusal(schema, 7).message).toBe(
      "Expected `n` to be a string or parts, got `7` (number).",
    );
  });

  it("never shows a whole long value, a secret, or what people wrote", () => {
    expect(refusal(number(0), "x".repeat(500)).message).toMatch(/`x{40}…` \(string\)/);
    expect(unexpected("token", "a number", "CANARY")).toBe(
      "Expected `token` to be a number, got a string.",
    );
    expect(unexpected("messages[0].content", "a list", "CANARY")).toBe(
      "Expected `messages[0].content` to be a list, got a string of 6 characters.",
    );
    expect(unexpected("messages[0].role", "known", "robot")).toContain("`robot`");
  });
});
