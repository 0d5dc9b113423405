// Testing your own bot without QQ, without weights, without sockets: with the fakes of this package.
import { installVlm } from "napcat-vlm";
import { FakeNapCat, groupMessage } from "napcat-vlm/testing";
import { FakeVisionLanguageModel } from "napcat-vlm/vlm/testing";
import { expect, it } from "vitest";

it("answers whoever mentions it, and only them", async () => {
  const napcat = new FakeNapCat();
  const model = new FakeVisionLanguageModel({ answer: "一只橘猫。" });
  const bot = installVlm(napcat, { model });

  napcat.receive(groupMessage({ text: "大家早" }));
  napcat.receive(groupMessage({ text: "你最喜欢什么动物？", mentionsBot: true }));
  await bot.idle();

  expect(napcat.sentTexts).toEqual(["一只橘猫。"]);
  expect(model.requests).toHaveLength(1);
  await bot.close();
});
