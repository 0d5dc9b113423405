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

  it("brings back what a question names, in order and from the first one on", () => {
    const three = [...past, turn(image(3), text("三？"))];
    expect(show(three, text("第2张呢？"))).toEqual({
      past: ["[图片1]一？", "[图片2]二？", "嗯？", "[图片3]三？"],
      question: "<1><2>第2张呢？",
      origins: ["past 0", "past 1"],
    });
    expect(show(past, image(3), text("和第1张比呢？")).question).toBe("<1><2><3>和第1张比呢？");
  });

  it("labels pictures whose place does not tell their number", () => {
    const rest = [{ ...turn(lost, image(6)), firstPicture: 5 }, turn(image(7))];
    expect(show(rest, text("图7呢？"))).toMatchObject({
      past: ["[旧图][图片6]", "[图片7]"],
      question: "Picture 6: <6>Picture 7: <7>图7呢？",
    });
    expect(show(rest, image(8), text("图6呢？")).question).toBe(
      "Picture 6: <6>Picture 7: <7>Picture 8: <8>图6呢？",
    );
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
