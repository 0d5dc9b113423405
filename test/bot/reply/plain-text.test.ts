import { describe, expect, it } from "vitest";
import { plainText } from "../../../src/bot/reply/plain-text.ts";
import { splitText } from "../../../src/bot/reply/split.ts";

describe("plainText", () => {
  it.each([
    ["这是**“重点”**内容", "这是“重点”内容"],
    ["*a* and __b__ and ~~c~~", "a and b and c"],
    ["好的~ 你好~ 再见", "好的~ 你好~ 再见"],
    ["# 标题\n正文", "标题\n正文"],
    ["第一行\n第二行\n\n第三行", "第一行\n第二行\n\n第三行"],
    ["* 一\n* 二\n  - 三 **四**\n", "- 一\n- 二\n  - 三 四"],
    ["3. 一\n4. 二", "3. 一\n4. 二"],
    ["- [x] 好\n- [ ] 没好", "- [x] 好\n- [ ] 没好"],
    ["| 名 | 价 |\n|---|--:|\n| **猫** | `3` |\n| 狗 | 5 |", "名 | 价\n猫 | 3\n狗 | 5"],
    ["看：\n```py\nx = a * b * c\n  y_z_w = 1\n```\n完", "看：\nx = a * b * c\n  y_z_w = 1\n完"],
    ["用 `a_b*c*` 吧", "用 a_b*c* 吧"],
    ["> 引用\n> 两行", "> 引用\n> 两行"],
    [
      "[文档](https://a.b/c_d_e) 和 https://x.y/1_2_3?a=1&b=2",
      "文档 (https://a.b/c_d_e) 和 https://x.y/1_2_3?a=1&b=2",
    ],
    ["<https://a.b/c>", "https://a.b/c"],
    ["面积 \\(\\pi r^2\\)，$$\\frac{a_1}{b_1}$$", "面积 \\pi r^2，\\frac{a_1}{b_1}"],
    ["设 $x_1*y_1$ 和 $x_2*y_2$", "设 x_1*y_1 和 x_2*y_2"],
    ["it costs $5 and $10 * 2", "it costs $5 and $10 * 2"],
    ["一<br>二 <b>三</b>", "一\n二 <b>三</b>"],
    ["3 * 4 * 5 = 60，a_b_c", "3 * 4 * 5 = 60，a_b_c"],
    ["[CQ:at,qq=all] &lt;", "[CQ:at,qq=all] <"],
    ["    床前明月光\n    疑是地上霜", "床前明月光\n    疑是地上霜"],
    ["👨‍👩‍👧 **👍🏽**", "👨‍👩‍👧 👍🏽"],
    ["", ""],
  ])("reads %j as %j", (markdown, expected) => {
    expect(plainText(markdown).text).toBe(expected);
  });

  it("keeps code and tables in one message each", () => {
    const code = Array.from({ length: 6 }, (_, index) => `line_${index} = ${index}`).join("\n");
    const table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |";
    const { text, whole } = plainText(
      `${"前言很长。".repeat(12)}\n\n\`\`\`\n${code}\n\`\`\`\n\n${table}\n\n后记。`,
    );
    const parts = splitText(text, 100, whole);
    expect(parts.filter((part) => part.includes("line_0"))).toEqual([
      expect.stringContaining(code),
    ]);
    expect(parts.filter((part) => part.includes("a | b"))).toEqual([
      expect.stringContaining("a | b\n1 | 2\n3 | 4"),
    ]);
    expect(parts.join("").replace(/\s/gu, "")).toBe(text.replace(/\s/gu, ""));
    expect(Math.max(...parts.map(({ length }) => length))).toBeLessThanOrEqual(100);
  });

  it("takes no time for what is made to take time", () => {
    for (const piece of ["**a", "$a", "\\(", "[", "> ", "`", "~~"]) {
      expect(plainText(piece.repeat(2000)).text.length).toBeGreaterThan(0);
    }
  });
});
