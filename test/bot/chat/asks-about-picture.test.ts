import { describe, expect, it } from "vitest";
import { asksAboutPicture, asksHowItLooks } from "../../../src/bot/chat/asks-about-picture.ts";

describe("asksAboutPicture", () => {
  it.each([
    "这张图里有几个人？",
    "图里有什么",
    "图片上写了什么",
    "帮我描述一下图片",
    "上面那张截图是什么意思",
    "我刚才发的照片是在哪里拍的",
    "那个表情包是谁",
    "看图",
    "照片里的猫是什么品种",
    "翻译一下这张图",
    "What is in this picture?",
    "what's written in the screenshot",
    "describe my photo please",
  ])("hears a picture named in %j", (text) => {
    expect(asksAboutPicture(text)).toBe("names");
  });

  it.each([
    "这是什么",
    "这是什么？",
    " 这是啥呀 ",
    "这个是什么东西？",
    "那是谁",
    "这写的什么",
    "它是什么",
    "看看",
    "帮我看看这个",
    "what is this?",
    "What's that",
    "who is this",
    "describe this",
  ])("sees somebody point in %j", (text) => {
    expect(asksAboutPicture(text)).toBe("points");
  });

  it.each([
    "",
    "你好",
    "今天天气怎么样",
    "图书馆在哪",
    "什么是图灵测试",
    "帮我画一张图",
    "怎么修图",
    "意图是什么",
    "这是什么原理导致的，能不能详细讲讲它的历史",
    "为什么天是蓝的",
    "地图怎么用",
    "看图书馆几点开门",
    "它几岁",
    "what is a picture frame made of",
    "这张图里有什么".padEnd(300, "啊"),
  ])("hears neither in %j", (text) => {
    expect(asksAboutPicture(text)).toBe("no");
  });
});

describe("asksHowItLooks", () => {
  it.each(["它是什么颜色？", "这是什么图形", "这个什么品种", "What color is it?"])(
    "hears it in %j",
    (text) => {
      expect(asksHowItLooks(text)).toBe(true);
    },
  );

  it.each(["", "颜色", "红是什么颜色", "它是什么", "what color is the sky"])(
    "does not in %j",
    (text) => {
      expect(asksHowItLooks(text)).toBe(false);
    },
  );
});
