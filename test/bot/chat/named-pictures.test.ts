import { describe, expect, it } from "vitest";
import { countsPictures, namedPictures, pointsBack } from "../../../src/bot/chat/named-pictures.ts";

const four = { earlier: [1, 2, 3, 4], own: [] };

describe("namedPictures", () => {
  it.each([
    ["第2张图里有什么？", [2]],
    ["第三张呢", [3]],
    ["第 1 张和第4张比呢", [1, 4]],
    ["图2里写了什么", [2]],
    ["图片 3 是哪里", [3]],
    ["What is in picture 2?", [2]],
    ["Compare image #1 and the third picture", [1, 3]],
    ["上一张是什么？", [3]],
    ["前一张呢", [3]],
    ["之前那张图呢", [3]],
    ["刚才那张图呢", []],
    ["the previous picture?", [3]],
    ["这两张有什么不同", [3, 4]],
    ["最后三张", [2, 3, 4]],
    ["哪张图更好看", [1, 2, 3, 4]],
    ["所有图片都是什么颜色", [1, 2, 3, 4]],
    ["describe all the pictures", [1, 2, 3, 4]],
    ["图里有什么？", []],
    ["这是什么？", []],
    ["一张图", []],
    ["图里有3个人吗", []],
    ["第9张", []],
    ["第一名是谁", []],
    ["What is in the picture?", []],
    ["", []],
  ])("finds in %j the pictures %j", (question, numbers) => {
    expect(namedPictures(question, four)).toEqual(numbers);
  });

  it("counts the question's own picture, and takes numbers of several own ones for theirs", () => {
    expect(namedPictures("和上一张有什么不同", { earlier: [1, 2], own: [3] })).toEqual([2]);
    expect(namedPictures("这两张一样吗", { earlier: [1, 2], own: [3] })).toEqual([2]);
    expect(namedPictures("第2张是什么", { earlier: [1, 2], own: [3, 4] })).toEqual([]);
  });

  it("takes the one just now for the newest, which is an earlier one if the question brings its own", () => {
    expect(namedPictures("和刚才那张比呢", { earlier: [1, 2], own: [3] })).toEqual([2]);
  });

  it("names nothing that is no longer there", () => {
    expect(namedPictures("第1张", { earlier: [3, 4], own: [] })).toEqual([]);
    expect(namedPictures("上一张", { earlier: [], own: [1] })).toEqual([]);
  });
});

describe("countsPictures", () => {
  it.each([
    ["第二张是什么？", true],
    ["the second one", true],
    ["第2张是什么？", false],
    ["第二张图里有什么", false],
    ["the second picture", false],
    ["上一张", false],
  ])("of %j: %s", (question, counts) => {
    expect(countsPictures(question)).toBe(counts);
  });
});

describe("pointsBack", () => {
  it.each([
    ["它是什么颜色？", true],
    ["What colour is it?", true],
    ["其他的呢", false],
    ["图里有什么？", false],
    ["write a poem with wit", false],
  ])("of %j: %s", (question, back) => {
    expect(pointsBack(question)).toBe(back);
  });
});
