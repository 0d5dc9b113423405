import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Sentences } from "../../../src/bot/reply/sentences.ts";
import { effort } from "../../support/fuzz.ts";

/** What comes out when the text is written in these pieces. */
function cut(pieces: readonly string[]): string[] {
  const sentences = new Sentences();
  const out = pieces.map((piece) => sentences.push(piece));
  return [...out, sentences.end(pieces.join(""))].filter((part) => part !== "");
}

const letters = (text: string) => cut([...text]);
const LONG = "这一句话足够长，可以单独作为一条消息发出去";

describe("Sentences", () => {
  it("come out as soon as they are whole, and short ones together", () => {
    expect(letters(`${LONG}。${LONG}！好。对。“${LONG}。”完`)).toEqual([
      `${LONG}。`,
      `${LONG}！`,
      `好。对。“${LONG}。”`,
      "完",
    ]);
    expect(
      letters("This is the first sentence of it. And version 3.14 is the second one. End"),
    ).toEqual([
      "This is the first sentence of it.",
      " And version 3.14 is the second one.",
      " End",
    ]);
  });

  it.each([
    ["code", `${LONG}：\n\`\`\`js\n// 甲。乙。\n\nconst a = "${LONG}。";\n\`\`\``],
    ["a table", `| ${LONG}。 | 乙 |\n|---|---|\n| 丙。 | ${LONG}！ |\n| 丁。 | 戊。 |`],
    ["a formula", `公式$$ ${LONG}。x! + y! $$`],
    ["a formula in brackets", `公式\\[ ${LONG}。x! + y! \\]`],
    ["bold words", `**${LONG}。${LONG}。**`],
    ["a link", `[${LONG}。${LONG}](https://example.com/a?b=c)`],
    ["the number of an item", "1. This is the very first item of the list"],
    ["a path", `\`${LONG}。a\``],
  ])("leave %s whole", (_what, whole) => {
    const parts = letters(`${LONG}。\n\n${whole}\n\n${LONG}。\n\n完`);
    expect(parts.join("")).toBe(`${LONG}。\n\n${whole}\n\n${LONG}。\n\n完`);
    expect(parts.filter((part) => part.includes(whole))).toHaveLength(1);
    expect(parts.length).toBeGreaterThan(1);
  });

  it("are all of the text, in order, in whatever pieces it is written", () => {
    const piece = fc.constantFrom(
      "句子。",
      "```\n",
      "\n\n",
      "| a | b |\n",
      "**",
      "$$",
      "[",
      "](",
      ")",
      ". ",
      "一二三四五六七八九十",
      "1. ",
      "！”",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        expect(cut(pieces).join("")).toBe(pieces.join(""));
      }),
      effort(),
    );
  });

  it("end where the answer ends, though more was sent", () => {
    const sentences = new Sentences();
    expect(sentences.push(`${LONG}。${LONG}。${LONG}`)).toBe(`${LONG}。${LONG}。`);
    expect(sentences.end(`${LONG}。`)).toBe("");
  });
});
