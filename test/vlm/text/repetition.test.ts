import { describe, expect, it } from "vitest";
import { Random } from "../../../src/vlm/engine/random.ts";
import { Repetition, TextRepetition, TOKEN_LOOPS } from "../../../src/vlm/text/repetition.ts";

/** Symbols read until a loop was found, and the loop. */
function watch(symbols: Iterable<number>) {
  const repetition = new Repetition(TOKEN_LOOPS);
  let read = 0;
  for (const symbol of symbols) {
    read++;
    const loop = repetition.push(symbol);
    if (loop) return { read, ...loop };
  }
  return undefined;
}

const randomIds = (count: number, seed: number) => {
  const random = new Random(seed);
  return Array.from({ length: count }, () => Math.floor(random.next() * 5000));
};

function* forEver(unit: readonly number[], before: readonly number[] = [], limit = 20_000) {
  yield* before;
  for (let i = 0; i < limit; i++) yield unit[i % unit.length]!;
}

/** What is left of a text once its loop is cut; undefined without a loop. */
function cut(text: string, pieceLength = 3): string | undefined {
  const repetition = new TextRepetition();
  let shown = "";
  for (const piece of text.match(new RegExp(`.{1,${pieceLength}}`, "gsu")) ?? []) {
    shown += piece;
    const repeated = repetition.push(piece);
    if (repeated > 0) return shown.slice(0, -repeated);
  }
  return undefined;
}

describe("Repetition", () => {
  it.each([1, 2, 3, 7, 16, 40, 127, 200, 500, 1000])("finds a loop of %d tokens", (period) => {
    const before = randomIds(37, period);
    const unit = randomIds(period, period + 1);
    const found = watch(forEver(unit, before));
    expect(found?.period).toBe(period);
    expect(found!.read - found!.length).toBe(before.length);
    expect(found!.length).toBeGreaterThan(64);
    expect(found!.length).toBeGreaterThanOrEqual(3 * period);
    expect(found!.length).toBeLessThanOrEqual(Math.max(4 * period, 64 + 256));
  });

  it("finds the smallest unit, also when a loop begins with part of it", () => {
    expect(watch(forEver([1, 2, 1, 2, 1, 2]))?.period).toBe(2);
    expect(watch(forEver([5, 6, 7], [6, 7]))).toMatchObject({ period: 3 });
  });

  it("takes no three copies for a loop, nor stretches that a difference ends", () => {
    const unit = randomIds(60, 1);
    expect(watch([...unit, ...unit, ...unit, ...randomIds(50, 2)])).toBeUndefined();
    const differing = Array.from({ length: 40 }, (_, i) => [...randomIds(8, 3), 9000 + i]).flat();
    expect(watch(differing)).toBeUndefined();
    expect(watch(randomIds(5000, 4))).toBeUndefined();
  });

  it("stays quick in the longest loops and texts", () => {
    const repetition = new Repetition({ ...TOKEN_LOOPS, minLength: 1e9 });
    for (let i = 0; i < 5000; i++) expect(repetition.push(7)).toBeUndefined();
  });
});

describe("TextRepetition", () => {
  it("cuts to one copy: lines, sentences, words and characters", () => {
    expect(cut(`开始\n${"这一行没完没了。\n".repeat(300)}`)).toBe("开始\n这一行没完没了。");
    expect(cut(`我说：好。${"再来一次。".repeat(99)}`)).toBe("我说：好。再来一次。");
    expect(cut("The cat sat. ".repeat(99))).toBe("The cat sat. ");
    expect(cut(`看：${"再见".repeat(999)}`)).toBe("看：再见");
    expect(cut(`好${"。".repeat(2000)}`)).toBe("好。");
    expect(cut("| a | 1 |\n| b | 2 |\n".repeat(60))).toBe("| a | 1 |\n| b | 2 |\n");
  });

  it("finds long paragraphs the third time", () => {
    const paragraph = Array.from({ length: 60 }, (_, i) => `第${i}句话。`).join("");
    expect(cut(paragraph.repeat(5), 10)).toBe(paragraph);
  });

  it("counts what follows the loop inside the same piece", () => {
    const repetition = new TextRepetition();
    const text = `前面${"转圈圈，".repeat(400)}`;
    expect(text.slice(0, -repetition.push(text))).toBe("前面转圈圈，");
  });

  it.each([
    ["laughter", `${"哈".repeat(120)}，太好笑了${"哈".repeat(60)}`],
    ["exclamation marks and dots", `真的${"！".repeat(80)}${".".repeat(200)}`],
    ["a rule", `标题\n${"-".repeat(300)}\n正文\n${"=".repeat(300)}`],
    ["a numbered list", Array.from({ length: 100 }, (_, i) => `${i + 1}. 再来一次`).join("\n")],
    [
      "a table",
      `| 名称 | 数量 |\n|${" --- |".repeat(20)}\n${Array.from({ length: 60 }, (_, i) => `| 苹果 | ${i * 7} |`).join("\n")}`,
    ],
    [
      "verses with a chorus",
      ["春", "夏", "秋", "冬"]
        .map((s) => `${s}天来了，万物都在变。\n啦啦啦，啦啦啦，我们一起唱。\n`)
        .join(""),
    ],
    ["a line said ten times on purpose", "我爱你\n".repeat(10)],
    ["indented code", "    if (a) {\n        b();\n    }\n".repeat(3)],
  ])("leaves %s alone", (_, text) => {
    expect(cut(text)).toBeUndefined();
  });
});
