// The bot with eyes: the tiny chat model behind a fake NapCat, with pictures drawn here and now.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type InstalledVlm, installVlm } from "../../src/bot/install-vlm.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import type { VisionLanguageModel } from "../../src/vlm/index.ts";
import { drawDigits, drawShapes } from "../support/draw.ts";
import { loadTinyChat } from "../support/tiny-chat.ts";

let model: VisionLanguageModel;
let napcat: FakeNapCat;
let bot: InstalledVlm;

beforeAll(async () => {
  model = await loadTinyChat();
});
afterAll(() => model.dispose());
beforeEach(() => {
  napcat = new FakeNapCat();
  bot = installVlm(napcat, { model, merge: { windowMs: 0 } });
  return () => bot.close();
});

async function answerTo(event: object): Promise<string | undefined> {
  napcat.receive(event);
  await bot.idle();
  return napcat.sentTexts.at(-1);
}

describe("the bot with the tiny chat model", () => {
  it("says what is in a picture, and what colour it was afterwards", async () => {
    const images = [await drawShapes([{ shape: "circle", color: "red" }])];
    const ask = (text: string, pictures: Uint8Array[] = []) =>
      answerTo(groupMessage({ mentionsBot: true, text, images: pictures }));
    expect(await ask("图里有什么？", images)).toBe("图里有一个红色的圆形。");
    expect(await ask("它是什么颜色？")).toBe("红色。");
  });

  it("sees the picture that was quoted", async () => {
    const images = [await drawShapes([{ shape: "star", color: "blue" }])];
    napcat.answer("get_msg", groupMessage({ images, nickname: "小红" }));
    const question = groupMessage({ mentionsBot: true, text: "图里有什么？", quotes: 5 });
    expect(await answerTo(question)).toBe("图里有一个蓝色的星形。");
  });

  it("sees the picture that came a moment before, the asker's or somebody else's", async () => {
    const images = [await drawShapes([{ shape: "star", color: "blue" }])];
    const question = () => groupMessage({ mentionsBot: true, text: "图里有什么？" });
    expect(await answerTo(groupMessage({ images }))).toBeUndefined();
    expect(await answerTo(question())).toBe("图里有一个蓝色的星形。");

    bot.responder.reset({ kind: "group", id: "700000003" });
    const others = [await drawShapes([{ shape: "circle", color: "red" }])];
    await answerTo(groupMessage({ images: others, userId: 1000000005, nickname: "小红" }));
    expect(await answerTo(question())).toBe("图里有一个红色的圆形。");
  });

  it("tells several pictures apart", async () => {
    const images = await Promise.all([
      drawShapes([{ shape: "cross", color: "green" }]),
      drawShapes([{ shape: "circle", color: "black" }]),
    ]);
    expect(await answerTo(privateMessage({ text: "分别是什么？", images }))).toBe(
      "第一张是绿色的十字。第二张是黑色的圆形。",
    );
  });

  it("reads digits", async () => {
    const images = [await drawDigits("42")];
    expect(await answerTo(privateMessage({ text: "图里写的数字是多少？", images }))).toBe("42");
  });

  it("answers on when a picture is cut off", async () => {
    const whole = await drawShapes([{ shape: "circle", color: "red" }]);
    const images = [whole.subarray(0, 100)];
    expect(await answerTo(privateMessage({ text: "图里有什么？", images }))).toBeTruthy();
    expect(await answerTo(privateMessage({ text: "图里有什么？", images: [whole] }))).toContain(
      "红色的圆形",
    );
  });
});
