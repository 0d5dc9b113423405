import { describe, expect, it, vi } from "vitest";
import { AnswerStart, type SeenNames } from "../../../src/bot/chat/answer-start.ts";

/** An answer that comes in pieces of so many characters. */
async function through(names: SeenNames, answer: string, pieceLength = 1): Promise<string> {
  const start = new AnswerStart(names);
  let shown = "";
  for (const piece of answer.match(new RegExp(`.{1,${pieceLength}}`, "gsu")) ?? []) {
    shown += await start.push(piece);
  }
  return shown + start.end();
}

const speakers = ["小明", "小明的猫", "Li Si"];

describe("AnswerStart", () => {
  it.each([
    ["小明：好的", "好的"],
    ["小明:好的", "好的"],
    ["小明 ： 好的", "好的"],
    ["\n小明的猫：\n好的", "好的"],
    ["Li Si: fine", "fine"],
    ["小明：小明的猫：好的", "好的"],
    ["小明：", ""],
    ["答案：42", "答案：42"],
    ["小明说：好的", "小明说：好的"],
    ["小红：好的", "小红：好的"],
    ["小明", "小明"],
    ["小明的", "小明的"],
    ["好的，小明：你看", "好的，小明：你看"],
    ["Li Si", "Li Si"],
    [" 好的", " 好的"],
    ["", ""],
  ])("makes %j into %j, however it is cut", async (answer, shown) => {
    for (const length of [1, 3, 100])
      expect(await through({ speakers }, answer, length)).toBe(shown);
  });

  it("asks for the bot's own names once, and only when an answer begins like one", async () => {
    const own = vi.fn(async () => ["看图猫", ""]);
    expect(await through({ speakers, own }, "好的，看图猫：在。")).toBe("好的，看图猫：在。");
    expect(await through({ speakers, own }, "第一行\n看图猫：在")).toBe("第一行\n看图猫：在");
    expect(own).toHaveBeenCalledTimes(1);
    own.mockClear();
    expect(await through({ speakers, own }, "看图猫：小明：在")).toBe("在");
    expect(await through({ speakers, own }, "答案：看图猫：在")).toBe("答案：看图猫：在");
    expect(own).toHaveBeenCalledTimes(2);
  });

  it("holds nothing back that cannot become a name", async () => {
    const start = new AnswerStart({ speakers });
    expect(await start.push("小")).toBe("");
    expect(await start.push("红")).toBe("小红");
    expect(await start.push("小明：")).toBe("小明：");
  });
});
