// Decisions of the tiny chat model, held against probabilities that plain runs of its own graphs give for each text.

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Decoder } from "../../src/vlm/engine/decoder.ts";
import { openPackage } from "../../src/vlm/engine/onnx-package.ts";
import { VisionEncoder } from "../../src/vlm/engine/vision-encoder.ts";
import type { Qwen3VlModel } from "../../src/vlm/qwen3-vl.ts";
import { askedMessages } from "../../src/vlm/text/decide-question.ts";
import { mropePositions } from "../../src/vlm/text/position-ids.ts";
import { buildPrompt } from "../../src/vlm/text/prompt.ts";
import { loadTokenizer, type Tokenizer } from "../../src/vlm/text/tokenizer.ts";
import type { DecideQuestion } from "../../src/vlm/vision-language-model.ts";
import { drawShapes } from "../support/draw.ts";
import { loadTinyChat, tinyChatPackage, userMessage } from "../support/tiny-chat.ts";

const messages = [userMessage("你好，我是小明")];

/** Log-probability of each text and its end behind the prompt of a question: one whole run for each. */
class PlainRuns {
  readonly #decoder: Decoder;
  readonly #tokenizer: Tokenizer;

  private constructor(decoder: Decoder, tokenizer: Tokenizer) {
    this.#decoder = decoder;
    this.#tokenizer = tokenizer;
  }

  static async open(): Promise<PlainRuns> {
    const model = await openPackage(tinyChatPackage());
    return new PlainRuns(await Decoder.load(model), await loadTokenizer(tinyChatPackage()));
  }

  async logProbability(question: DecideQuestion, text: string) {
    const tokenizer = this.#tokenizer;
    const prompt = buildPrompt(askedMessages(messages, question), { tokenizer, imageTokens: [] });
    const tokens = [...tokenizer.encodeText(text), tokenizer.specialId("<|im_end|>")];
    const ids = Int32Array.from([...prompt.ids, ...tokens]);
    const { positions } = mropePositions(ids.length, []);
    const slots = this.#decoder.createSlots(1, ids.length);
    const rows = await this.#decoder.append({ ids, positions }, slots.open(), { scores: "all" });
    const each = tokens.map((id, index) => {
      const scores = rows[prompt.ids.length - 1 + index]!.subarray(0, tokenizer.size);
      const highest = scores.reduce((a, b) => Math.max(a, b));
      return (
        scores[id]! - highest - Math.log(scores.reduce((a, b) => a + Math.exp(b - highest), 0))
      );
    });
    slots.dispose();
    return { sum: each.reduce((a, b) => a + b, 0), tokens: tokens.length };
  }

  dispose(): Promise<void> {
    return this.#decoder.dispose();
  }
}

function softmax(scores: readonly number[]): number[] {
  const weights = scores.map((score) => Math.exp(score - Math.max(...scores)));
  return weights.map((weight) => weight / weights.reduce((a, b) => a + b, 0));
}

describe("a model that decides", () => {
  let model: Qwen3VlModel;
  let runs: PlainRuns;

  beforeAll(async () => {
    model = await loadTinyChat({ prefixCacheBytes: 2 ** 24 });
    runs = await PlainRuns.open();
  });
  afterAll(async () => {
    await model.dispose();
    await runs.dispose();
  });

  it("gives options the normalised probabilities of their tokens, as plain runs do", async () => {
    // Some are beginnings of others, some have many tokens.
    const options = ["是", "是的", "是的，没错", "no", "nothing at all", "猫", "1234567"];
    const question = { type: "choice", question: "哪一个？", options } as const;
    const { decisions } = await model.decide({ messages, questions: [question] });
    const plain = await Promise.all(options.map((text) => runs.logProbability(question, text)));
    const expected = softmax(plain.map(({ sum, tokens }) => sum / tokens));
    const [{ option, probability, probabilities }] = decisions;
    expect(probabilities).toHaveLength(options.length);
    for (const [index, wanted] of expected.entries()) {
      expect(probabilities[index]).toBeCloseTo(wanted, 4);
    }
    expect(option).toBe(options[expected.indexOf(Math.max(...expected))]);
    expect(probability).toBeCloseTo(Math.max(...expected), 4);
  });

  it("weighs yes against no, in words of one's own as well", async () => {
    const questions = [
      { type: "yes-no", question: "好吗？" },
      { type: "yes-no", question: "好吗？", yes: "certainly", no: "never" },
    ] as const;
    const { decisions } = await model.decide({ messages, questions });
    const words = [
      ["是", "否"],
      ["certainly", "never"],
    ] as const;
    for (const [index, [yes, no]] of words.entries()) {
      const question = questions[index]!;
      const plain = [
        await runs.logProbability(question, yes),
        await runs.logProbability(question, no),
      ];
      const [expected = 0] = softmax(plain.map(({ sum, tokens }) => sum / tokens));
      const decided = decisions[index]!;
      expect(decided.probability).toBeCloseTo(expected, 4);
      expect(decided.yes).toBe(expected >= 0.5);
    }
  });

  it("gives numbers the probabilities of their digits, and their mean", async () => {
    const question = { type: "number", question: "几个？", min: -2, max: 12 } as const;
    const {
      decisions: [{ value, probability, expected }],
    } = await model.decide({ messages, questions: [question] });
    const numbers = Array.from({ length: 15 }, (_, index) => index - 2);
    const plain = await Promise.all(numbers.map((n) => runs.logProbability(question, String(n))));
    const shares = softmax(plain.map(({ sum }) => sum));
    expect(probability).toBeCloseTo(Math.max(...shares), 2);
    expect(value).toBe(numbers[shares.indexOf(Math.max(...shares))]);
    const mean = shares.reduce((sum, share, index) => sum + share * numbers[index]!, 0);
    expect(expected).toBeCloseTo(mean, 1);
  });

  it("finds a box inside the picture, with a probability", async () => {
    const picture = await drawShapes([{ shape: "circle", color: "red" }]);
    const asked = [userMessage(picture, "看")];
    const questions = [
      { type: "box", question: "the circle" },
      { type: "yes-no", question: "有圆吗？" },
    ] as const;
    const { decisions } = await model.decide({ messages: asked, questions });
    const [{ box, probability }, { yes }] = decisions;
    expect(0 <= box.left && box.left <= box.right && box.right <= 1).toBe(true);
    expect(0 <= box.top && box.top <= box.bottom && box.bottom <= 1).toBe(true);
    expect(probability).toBeGreaterThan(0);
    expect(probability).toBeLessThanOrEqual(1);
    expect(typeof yes).toBe("boolean");
  });

  it("sees a picture once for all questions about it, and reads once what stands in front of them", async () => {
    const picture = await drawShapes([{ shape: "square", color: "blue" }]);
    const asked = [userMessage(picture, "这张图片有很多内容，请先仔细看一看")];
    const seen = vi.spyOn(VisionEncoder.prototype, "encode");
    const computed = vi.spyOn(Decoder.prototype, "append");
    /** Tokens that were computed for these questions. */
    const tokensFor = async (questions: readonly DecideQuestion[]) => {
      computed.mockClear();
      await model.decide({ messages: asked, questions });
      return computed.mock.calls.reduce((sum, [{ ids }]) => sum + ids.length, 0);
    };
    const ask = (question: string): DecideQuestion => ({ type: "yes-no", question });
    const one = await tokensFor([ask("有圆吗？")]);
    expect(seen).toHaveBeenCalledTimes(1);
    await model.forget({ images: [picture] });
    const three = await tokensFor([ask("有方吗？"), ask("有人吗？"), ask("有猫吗？")]);
    expect(seen).toHaveBeenCalledTimes(2);
    expect(three).toBeGreaterThan(0);
    expect(three).toBeLessThan(2 * one);
    vi.restoreAllMocks();
  });

  it("decides the same alone and beside those who write", async () => {
    const question = { type: "choice", question: "谁？", options: ["小明", "小红", "小"] } as const;
    const request = { messages, questions: [question, question] } as const;
    const alone = await model.decide(request);
    const [beside] = await Promise.all([
      model.decide(request),
      model.generate({ messages, temperature: 0, maxTokens: 30 }),
      model.generate({ messages, temperature: 0, maxTokens: 30 }),
    ]);
    for (const [index, { option, probabilities }] of beside.decisions.entries()) {
      expect(option).toBe(alone.decisions[index]?.option);
      for (const [at, probability] of probabilities.entries()) {
        expect(probability).toBeCloseTo(alone.decisions[index]!.probabilities[at]!, 4);
      }
    }
  });

  it.each([
    [{ questions: [] }, /questions/u],
    [
      { questions: [{ type: "choice", question: "?", options: ["a"] }] },
      /questions\[0\]\.options/u,
    ],
    [{ questions: [{ type: "yes-no", question: "?", yes: "x", no: "x" }] }, /questions\[0\]\.no/u],
    [{ questions: [{ type: "number", question: "?", min: 3, max: 3 }] }, /questions\[0\]\.max/u],
    [{ questions: [{ type: "box", question: "cat" }] }, /picture/u],
    [{ questions: [{ type: "colour", question: "?" }] }, /yes-no/u],
  ])("says what is wrong with %j", async (wrong, message) => {
    const request = { messages, ...wrong } as Parameters<typeof model.decide>[0];
    await expect(model.decide(request)).rejects.toThrow(message);
  });
});
