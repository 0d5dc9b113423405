import { describe, expect, it } from "vitest";
import { expectKeys, expectNumber, expectOneOf, expectString } from "../../src/vlm/expect.ts";

describe("expectNumber", () => {
  it.each([
    [{ integer: true, min: 1 }, 0, "Expected `n` to be an integer >= 1, got `0` (number)"],
    [{ integer: true, min: 1 }, 1.5, "Expected `n` to be an integer >= 1, got `1.5` (number)"],
    [{ min: 0, max: 1 }, 2, "Expected `n` to be a number >= 0 and <= 1, got `2` (number)"],
    [{ min: 0, exclusiveMin: true }, 0, "Expected `n` to be a number > 0, got `0` (number)"],
    [{}, "7", "Expected `n` to be a number, got `7` (string)"],
    [{}, Number.NaN, "Expected `n` to be a number, got `NaN` (number)"],
    [{}, null, "Expected `n` to be a number, got `null`"],
    [{}, [1, 2], "Expected `n` to be a number, got an array of 2"],
  ])("refuses what is outside %j: %j", (range, value, message) => {
    expect(() => expectNumber("n", value, range)).toThrow(message);
  });

  it("hands on what fits", () => {
    expect(expectNumber("n", 1, { integer: true, min: 1, max: 1 })).toBe(1);
  });
});

describe("expectOneOf, expectString, expectKeys", () => {
  it("name what was expected and what came", () => {
    expect(() => expectOneOf("p", "q8", ["fp32", "q4"])).toThrow(
      'Expected `p` to be one of "fp32", "q4", got `q8` (string)',
    );
    expect(() => expectString("s", "")).toThrow("Expected `s` to be a non-empty string");
    expect(() => expectKeys("options", { a: 1, maxTokes: 2 }, ["a", "maxTokens"])).toThrow(
      "Unknown option `maxTokes` in options. Known are a, maxTokens.",
    );
    expect(() => expectKeys("options", 3, [])).toThrow("Expected `options` to be an object");
  });

  it("never show a whole long value", () => {
    expect(() => expectNumber("n", "x".repeat(500))).toThrow(/x{40}…/);
    expect(() => expectNumber("n", "x".repeat(500))).not.toThrow(/x{41}/);
  });
});
