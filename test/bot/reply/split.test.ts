import { describe, expect, it } from "vitest";
import { splitText } from "../../../src/bot/reply/split.ts";

const withoutSpace = (text: string) => text.replace(/\s/gu, "");

describe("splitText", () => {
  it("leaves short text alone but for white space around it", () => {
    expect(splitText("  你好。\n", 20)).toEqual(["你好。"]);
    expect(splitText(" \n ", 20)).toEqual([]);
  });

  it("cuts between paragraphs, then lines, then sentences, then words", () => {
    expect(splitText("第一段。第一段。\n\n第二段。\n第二段。", 14)).toEqual([
      "第一段。第一段。",
      "第二段。\n第二段。",
    ]);
    expect(splitText("第一行很长\n第二行也长", 8)).toEqual(["第一行很长", "第二行也长"]);
    expect(splitText("今天下雨。明天也下雨。", 8)).toEqual(["今天下雨。", "明天也下雨。"]);
    expect(splitText("It rains 3.5 mm today. Tomorrow too.", 26)).toEqual([
      "It rains 3.5 mm today.",
      "Tomorrow too.",
    ]);
    expect(splitText("one two three four", 10)).toEqual(["one two", "three four"]);
  });

  it("keeps a closing quotation mark with its sentence", () => {
    expect(splitText("他说：“下雨了。”然后他走了。", 10)).toEqual([
      "他说：“下雨了。”",
      "然后他走了。",
    ]);
  });

  it("does not cut a link that fits", () => {
    const link = "https://example.com/a,b;c?d=e";
    expect(splitText(`请看这个页面里的说明${link}，谢谢`, 32)).toEqual([
      "请看这个页面里的说明",
      `${link}，谢谢`,
    ]);
  });

  it("does not cut a code block that fits, and cuts a longer one between lines", () => {
    const block = "```js\nlet a = 1;\n\nlet b = 2;\n```";
    expect(splitText(`代码如下，请看：\n${block}\n好了`, 36)).toEqual([
      "代码如下，请看：",
      `${block}\n好了`,
    ]);
    const long = `\`\`\`\n${"let a = 1;\n".repeat(6)}\`\`\``;
    expect(splitText(long, 30).every((part) => /(```|;)$/u.test(part))).toBe(true);
  });

  it("never cuts a character in two", () => {
    const family = "👨‍👩‍👧‍👦";
    const parts = splitText(family.repeat(9), 25);
    expect(parts.join("")).toBe(family.repeat(9));
    expect(parts.every((part) => part.length % family.length === 0)).toBe(true);
    // Even a "character" without end does not break a surrogate pair.
    const endless = splitText("😀\u200d".repeat(30), 20);
    expect(endless.join("").isWellFormed()).toBe(true);
    expect(endless.every((part) => part.isWellFormed())).toBe(true);
  });

  it("keeps every limit and loses nothing but white space, for any text", () => {
    // A small linear congruential generator: the same texts on every run.
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    const pieces = [
      "你好",
      "。",
      "\n",
      "\n\n",
      " ",
      "word",
      "```",
      "https://a.b/c?d",
      "😀",
      "，",
      "\t",
    ];
    for (let round = 0; round < 400; round++) {
      const text = Array.from({ length: random(80) }, () => pieces[random(pieces.length)]).join("");
      const limit = 20 + random(40);
      const parts = splitText(text, limit);
      expect(withoutSpace(parts.join(""))).toBe(withoutSpace(text));
      for (const part of parts) {
        expect(part.length).toBeLessThanOrEqual(limit);
        expect(part.trim()).toBe(part);
        expect(part).not.toBe("");
      }
    }
  });
});
