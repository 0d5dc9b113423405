import { describe, expect, it } from "vitest";
import type { PastTurn } from "../../../src/bot/chat/conversation.ts";
import { nextPictureNumber, showPictures } from "../../../src/bot/chat/shown-pictures.ts";
import type { TurnPart } from "../../../src/bot/chat/turn.ts";
import { DEFAULT_PHRASES } from "../../../src/bot/reply/phrases.ts";

const text = (text: string): TurnPart => ({ type: "text", text });
const image = (byte: number): TurnPart => ({ type: "image", data: Uint8Array.of(byte) });
const lost: TurnPart = { type: "note", text: "[旧图]", replaces: "image" };

/** What the model reads: pictures as `<byte>`. */
const written = (parts: readonly TurnPart[]) =>
  parts.map((part) => (part.type === "image" ? `<${part.data[0]}>` : part.text)).join("");

function show(past: readonly PastTurn[], ...question: TurnPart[]) {
  const shown = showPictures(past, question, DEFAULT_PHRASES);
  return {
    past: shown.past.map(({ parts }) => written(parts)),
    question: written(shown.question),
    origins: shown.origins.map(({ from, index }) => `${from} ${index}`),
  };
}

const turn = (...parts: TurnPart[]): PastTurn => ({ parts, answer: "好" });
const past = [turn(image(1), text("一？")), turn(image(2), text("二？")), turn(text("嗯？"))];

describe("showPictures", () => {
  it("shows the latest picture where it stands, and numbers in place of those before it", () => {
    expect(show(past, text("它是什么颜色？"))).toEqual({
      past: ["[图片1]一？", "<2>二？", "嗯？"],
      question: "它是什么颜色？",
      origins: ["past 1"],
    });
  });

  it("shows a question's own pictures alone", () => {
    expect(show(past, image(3), text("图里有什么？"))).toEqual({
      past: ["[图片1]一？", "[图片2]二？", "嗯？"],
      question: "<3>图里有什么？",
      origins: ["question 0"],
    });
  });

  it("brings back what a question names, behind the turns that were about it", () => {
    const three = [turn(text("你好")), ...past, turn(image(3), text("三？"))];
    expect(show(three, text("第2张图呢？"))).toEqual({
      past: ["你好", "<2>二？", "嗯？"],
      question: "<2>第2张图呢？",
      origins: ["past 1", "past 1"],
    });
  });

  it("lets the place in a row tell what is counted off, while the row is short", () => {
    const four = [...past, turn(image(3)), turn(image(4))];
    expect(show(four, text("第一张是什么？")).question).toBe("<1><2>第一张是什么？");
    expect(show(four, text("第三张是什么？")).question).toBe("<1><2><3>第三张是什么？");
    expect(show(four, text("第四张是什么？")).question).toBe("<4>第四张是什么？");
    const rest = [{ ...turn(image(6)), firstPicture: 2 }, turn(image(7))];
    expect(show(rest, text("第二张是什么？")).question).toBe("<6>第二张是什么？");
  });

  it("labels the pictures of a question that is about several", () => {
    expect(show(past, text("这两张一样吗？")).question).toBe(
      "Picture 1: <1>Picture 2: <2>这两张一样吗？",
    );
    const rest = [{ ...turn(lost, image(6)), firstPicture: 5 }, turn(image(7))];
    expect(show(rest, image(8), text("图6呢？"))).toEqual({
      past: ["[旧图]<6>"],
      question: "Picture 6: <6>Picture 8: <8>图6呢？",
      origins: ["past 0", "past 0", "question 0"],
    });
  });

  it("shows the latest in front of a question that asks what is in it", () => {
    expect(show(past, text("图里有什么？"))).toEqual({
      past: ["[图片1]一？", "[图片2]二？", "嗯？"],
      question: "<2>图里有什么？",
      origins: ["past 1"],
    });
  });

  it("stays with what was named while questions point back, and comes back to the latest", () => {
    const named = [...past, turn(text("第1张是什么？"))];
    const about = ["<1>一？", "第1张是什么？"];
    expect(show(named, text("它是什么颜色？"))).toMatchObject({
      past: about,
      question: "<1>它是什么颜色？",
    });
    const twice = [...named, turn(text("它是什么颜色？"))];
    expect(show(twice, text("它大吗？")).past).toEqual([...about, "它是什么颜色？"]);
    expect(show(twice, text("图里有什么？"))).toMatchObject({
      past: ["<2>二？", "嗯？"],
      question: "<2>图里有什么？",
    });
    expect(show(twice, text("谢谢")).past).toHaveLength(5);
  });

  it("goes by what was said, and not by what is quoted", () => {
    const quoted = [text("[引用]第1张[引用结束]\n小明："), text("好看")];
    expect(showPictures(past, quoted, DEFAULT_PHRASES, "好看").past).toHaveLength(3);
  });

  it("leaves pictures that were sent together together, also for the questions that follow", () => {
    const album = [turn(image(1)), turn(image(2), image(3), text("分别是什么？"))];
    expect(show(album, text("第2张是什么颜色？"))).toMatchObject({
      past: ["[图片1]", "<2><3>分别是什么？"],
      origins: ["past 1", "past 2"],
    });
  });

  it("changes nothing of what is remembered between two questions without pictures", () => {
    const longer = [...past, turn(text("再问"))];
    expect(show(longer, text("还有呢？")).past.slice(0, 3)).toEqual(show(past, text("嗯")).past);
  });
});

describe("nextPictureNumber", () => {
  it("goes on where turns were dropped, and counts pictures that were lost", () => {
    expect(nextPictureNumber([])).toBe(1);
    expect(nextPictureNumber(past)).toBe(3);
    expect(nextPictureNumber([{ ...turn(image(1), lost), firstPicture: 9 }, turn(image(2))])).toBe(
      12,
    );
  });
});
