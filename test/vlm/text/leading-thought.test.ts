import { describe, expect, it } from "vitest";
import {
  LeadingThought,
  type LeadingThoughtOptions,
} from "../../../src/vlm/text/leading-thought.ts";

/** Splits a text that comes in pieces of so many characters. */
function split(text: string, pieceLength: number, options?: LeadingThoughtOptions) {
  const thought = new LeadingThought(options);
  const pieces = text.match(new RegExp(`.{1,${pieceLength}}`, "gsu")) ?? [];
  const deltas = [...pieces.flatMap((piece) => thought.push(piece)), ...thought.end()];
  const join = (type: string) =>
    deltas.map((delta) => (delta.type === type ? delta.text : "")).join("");
  return { reasoning: join("reasoning-delta"), text: join("text-delta") };
}

describe("LeadingThought", () => {
  it.each([
    ["an empty thought", "<think>\n\n</think>\n\n你好", "", "你好"],
    [
      "a full one",
      "<think>\n先看图。\n\n再数。\n</think>\n\n三个。\n",
      "先看图。\n\n再数。",
      "三个。\n",
    ],
    ["one behind white space", "\n <think>嗯</think>好", "嗯", "好"],
    ["several in a row", "<think>\n\n</think>\n\n<think>\n真的\n</think>\n\n好", "真的", "好"],
    ["one that never ends", "<think>\n想啊想", "想啊想", ""],
    ["no thought", "你好", "", "你好"],
    ["white space and no thought", "\n\n你好 \n", "", "\n\n你好 \n"],
    ["nothing but white space", " \n", "", " \n"],
    ["a mark in the middle", "写作 <think>x</think>。", "", "写作 <think>x</think>。"],
    ["what only begins like a mark", "<thin ice", "", "<thin ice"],
    ["a beginning of a mark at the end", "<thi", "", "<thi"],
    ["a beginning of the end inside", "<think>a </thi b</think>c", "a </thi b", "c"],
    ["a second end", "<think>a</think>b</think>c", "a", "b</think>c"],
  ])("tells %s from the answer, however it is cut", (_, written, reasoning, text) => {
    for (const length of [1, 2, 3, 7, 100]) {
      expect(split(written, length)).toEqual({ reasoning, text });
    }
  });

  it("keeps letters inside a thought that a token opened", () => {
    const thought = new LeadingThought();
    expect(thought.open()).toBe(true);
    expect(thought.push("a</think>b")).toEqual([{ type: "reasoning-delta", text: "a</think>b" }]);
    expect(thought.close()).toEqual([]);
    expect(thought.push("\n\nc")).toEqual([{ type: "text-delta", text: "c" }]);
    expect(thought.open()).toBe(false);
  });

  it("ends in letters where the vocabulary has no mark", () => {
    expect(split("a</think>\n\nb", 2, { opened: true, endsInLetters: true })).toEqual({
      reasoning: "a",
      text: "b",
    });
  });

  it("shows an answer without delay", () => {
    const thought = new LeadingThought();
    expect(["好", "<", "b"].map((piece) => thought.push(piece))).toEqual([
      [{ type: "text-delta", text: "好" }],
      [{ type: "text-delta", text: "<" }],
      [{ type: "text-delta", text: "b" }],
    ]);
  });
});
