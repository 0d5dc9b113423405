import { describe, expect, it } from "vitest";
import { DEFAULT_PHRASES } from "../../../src/bot/reply/phrases.ts";
import { replyText } from "../../../src/bot/reply/reply-text.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import type { FinishReason } from "../../../src/vlm/vision-language-model.ts";

async function reply(text: string, reasoning: string, finishReason: FinishReason = "stop") {
  const {
    text: _,
    reasoning: __,
    ...result
  } = await new FakeVisionLanguageModel().generate({
    messages: [{ role: "user", content: "?" }],
  });
  return replyText({ text, reasoning, result: { ...result, finishReason } }, DEFAULT_PHRASES);
}

describe("replyText", () => {
  it("tells nothing to say from no room to say it", async () => {
    expect(await reply(" 好 \n", "想")).toBe("好");
    expect(await reply("", "")).toBe(DEFAULT_PHRASES.emptyAnswer);
    expect(await reply("\n", "想啊想", "max-tokens")).toBe(DEFAULT_PHRASES.onlyThought);
    expect(await reply("", "", "context-full")).toBe(DEFAULT_PHRASES.onlyThought);
    expect(await reply("", "想完了")).toBe(DEFAULT_PHRASES.onlyThought);
  });
});
