// The tiny chat model in the form for graphics cards, through the public door and the real loop, on the CPU: several
// chats in one batch, a follow-up from the prefix cache, candidates instead of logits.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { drawnQuestions } from "../../../src/cli/prove/drawn-questions.ts";
import { loadQwen3Vl, type Qwen3VlModel } from "../../../src/vlm/qwen3-vl.ts";
import { TINY_CHAT } from "../../support/golden-checkpoint.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { userMessage } from "../../support/tiny-chat.ts";

describe("the tiny chat model in fp16", () => {
  let model: Qwen3VlModel;
  const questions = drawnQuestions().filter((_, index) => index % 12 === 0);

  beforeAll(async () => {
    model = await loadQwen3Vl({
      model: TINY_CHAT,
      packageDir: await tempDir(),
      precision: "fp16",
      maxContextTokens: 256,
      device: "cpu",
    });
  });

  afterAll(() => model.dispose());

  it("answers chats side by side", async () => {
    const answers = await Promise.all(
      questions.map(({ picture, question }) =>
        model.generate({ messages: [userMessage(picture, question)], temperature: 0 }),
      ),
    );
    expect(answers.map(({ text }) => text)).toEqual(questions.map(({ answer }) => answer));
  });

  it("goes on from what it has computed", async () => {
    const [first] = questions;
    const messages = [userMessage(first!.picture, "图里有什么？")];
    const { text } = await model.generate({ messages, temperature: 0 });
    const again = await model.generate({
      messages: [
        ...messages,
        { role: "assistant" as const, content: text },
        userMessage("它是什么颜色？"),
      ],
      temperature: 0,
    });
    expect(again.cache?.promptTokens).toBeGreaterThan(10);
    expect(text).toContain(again.text.replace("。", ""));
  });

  it("draws the same with a seed, penalties included", async () => {
    const request = {
      messages: [userMessage(questions[1]!.picture, "图里有什么？")],
      seed: 3,
      temperature: 0.9,
      presencePenalty: 1.5,
    };
    const [one, two] = [await model.generate(request), await model.generate(request)];
    expect(two.text).toBe(one.text);
  });
});
