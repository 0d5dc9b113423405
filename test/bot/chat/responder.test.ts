import { describe, expect, it } from "vitest";
import { Responder } from "../../../src/bot/chat/responder.ts";
import type { Turn, TurnPart } from "../../../src/bot/chat/turn.ts";
import { ImageDecodeError, PromptTooLongError, QueueFullError } from "../../../src/vlm/index.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import type { StreamPart } from "../../../src/vlm/vision-language-model.ts";
import { FINISHED } from "../../support/finished.ts";

const group = { kind: "group", id: "7" } as const;
const text = (text: string): TurnPart => ({ type: "text", text });
const image = (...bytes: number[]): TurnPart => ({ type: "image", data: Uint8Array.from(bytes) });

function groupTurn(...parts: TurnPart[]): Turn {
  return { chat: group, sender: { id: "10001", name: "张三" }, parts };
}

function privateTurn(id: string, ...parts: TurnPart[]): Turn {
  return { chat: { kind: "private", id }, sender: { id, name: "李四" }, parts };
}

/** Answers only when told to, one request after the other. */
function gatedModel() {
  const gates: (() => void)[] = [];
  const model = new FakeVisionLanguageModel({
    answer: async (_request, index) => {
      await new Promise<void>((resolve) => {
        gates[index] = resolve;
      });
      return `答${index + 1}`;
    },
  });
  const open = async (index: number) => {
    while (gates[index] === undefined) await new Promise(setImmediate);
    gates[index]();
  };
  return { model, open };
}

describe("Responder", () => {
  it("answers and remembers the turn with its pictures, in message order", async () => {
    const model = new FakeVisionLanguageModel({ answer: ["一只猫。", "橘色。"] });
    const responder = new Responder({ model, systemPrompt: "看图。" });

    const first = await responder.respond(groupTurn(text("看"), image(1, 2), text("是什么？")));
    await responder.respond(groupTurn(text("什么颜色？")));

    expect(first.text).toBe("一只猫。");
    expect(first.result.finishReason).toBe("stop");
    expect(model.requests[1]?.messages).toEqual([
      { role: "system", content: "看图。" },
      {
        role: "user",
        content: [text("张三：看"), image(1, 2), text("是什么？")],
      },
      { role: "assistant", content: "一只猫。" },
      { role: "user", content: "张三：什么颜色？" },
    ]);
  });

  it("puts the quoted message in front and no name in private chats", async () => {
    const model = new FakeVisionLanguageModel();
    const responder = new Responder({ model, systemPrompt: "" });

    await responder.respond({
      ...privateTurn("5", text("这是什么")),
      quote: { senderName: "小红", parts: [image(9)] },
    });

    expect(model.requests[0]?.messages).toEqual([
      {
        role: "user",
        content: [text("[引用小红的消息]\n"), image(9), text("\n[引用结束]\n这是什么")],
      },
    ]);
  });

  it("streams text and reasoning while it is written", async () => {
    const model = new FakeVisionLanguageModel({ answer: { text: "是猫", reasoning: "想一想" } });
    const parts: unknown[] = [];

    const reply = await new Responder({ model }).respond(groupTurn(text("?")), {
      onPart: (part) => parts.push(part),
    });

    expect(parts).toEqual([
      { type: "reasoning-delta", text: "想一想" },
      { type: "text-delta", text: "是猫" },
    ]);
    expect(reply).toMatchObject({ text: "是猫", reasoning: "想一想" });
  });

  it("turns each undecodable picture into a numbered note and asks again", async () => {
    const broken = (index: number) => new ImageDecodeError("image-corrupt", "x").at(index);
    const heic = new ImageDecodeError("image-unsupported", "x").at(1);
    const model = new FakeVisionLanguageModel({
      answer: [broken(0), heic, "中间那张是狗。", "好"],
    });
    const responder = new Responder({ model, systemPrompt: "" });

    const reply = await responder.respond(groupTurn(image(1), image(2), image(3), text("看")));
    await responder.respond(groupTurn(text("还有呢")));

    expect(reply.text).toBe("中间那张是狗。");
    const repaired = [
      text("张三：[图片1无法读取：文件已损坏]"),
      image(2),
      text("[图片3无法读取：格式不支持]看"),
    ];
    expect(model.requests[2]?.messages[0]?.content).toEqual(repaired);
    expect(model.requests[3]?.messages[0]?.content, "history has the notes").toEqual(repaired);
  });

  it("repairs the history too when an old picture turns out bad", async () => {
    const model = new FakeVisionLanguageModel({
      answer: ["一", new ImageDecodeError("image-corrupt", "x").at(0), "二", "三"],
    });
    const responder = new Responder({ model, systemPrompt: "" });

    await responder.respond(privateTurn("5", image(1)));
    await responder.respond(privateTurn("5", image(2), text("和第1张比？")));
    await responder.respond(privateTurn("5", text("?")));

    expect(model.requests[1]?.messages.at(-1)?.content).toEqual([
      text("Picture 1: "),
      image(1),
      text("Picture 2: "),
      image(2),
      text("和第1张比？"),
    ]);
    expect(model.requests[3]?.messages.map(({ content }) => content)).toEqual([
      "[图片1无法读取：文件已损坏]",
      "一",
      [image(2), text("和第1张比？")],
      "二",
      "?",
    ]);
  });

  it("gives up on a decode error that names no picture of the request", async () => {
    const error = new ImageDecodeError("image-corrupt", "x").at(1);
    const responder = new Responder({ model: new FakeVisionLanguageModel({ answer: error }) });
    await expect(responder.respond(privateTurn("5", image(1)))).rejects.toBe(error);
  });

  it.each([-1, 0.5, Number.NaN])("gives up on a decode error of picture %d", async (index) => {
    const error = new ImageDecodeError("image-corrupt", "x").at(index);
    let asked = 0;
    const answer = () => (asked++ < 3 ? error : "好");
    const responder = new Responder({ model: new FakeVisionLanguageModel({ answer }) });
    await expect(responder.respond(privateTurn("5", image(1)))).rejects.toBe(error);
  });

  it("remembers nothing of a turn that failed, and the next turn works", async () => {
    const model = new FakeVisionLanguageModel({
      answer: [new PromptTooLongError(9, 5), "好的。"],
    });
    const responder = new Responder({ model, systemPrompt: "" });

    await expect(responder.respond(groupTurn(text("很长")))).rejects.toThrow(PromptTooLongError);
    await responder.respond(groupTurn(text("短")));

    expect(model.requests[1]?.messages).toEqual([{ role: "user", content: "张三：短" }]);
  });

  it("answers turns of one chat in order even if a later one loads faster", async () => {
    const model = new FakeVisionLanguageModel();
    const responder = new Responder({ model, systemPrompt: "" });
    let finishLoading = (_: Turn) => {};
    const slow = new Promise<Turn>((resolve) => {
      finishLoading = resolve;
    });

    const first = responder.respond({ chat: group, load: () => slow });
    const second = responder.respond(groupTurn(text("二")));
    const other = responder.respond(privateTurn("5", text("别的")));
    await other;
    expect(model.requests).toHaveLength(1);

    finishLoading(groupTurn(text("一")));
    await Promise.all([first, second]);
    const asked = model.requests.map(({ messages }) => messages.at(-1)?.content);
    expect(asked).toEqual(["别的", "张三：一", "张三：二"]);
  });

  it("lets a waiting turn be aborted without touching the one in front", async () => {
    const { model, open } = gatedModel();
    const responder = new Responder({ model, systemPrompt: "" });
    const recall = new AbortController();

    const first = responder.respond(groupTurn(text("一")));
    const second = responder.respond(groupTurn(text("二")), { signal: recall.signal });
    recall.abort("recalled");
    await expect(second).rejects.toBe("recalled");
    await open(0);

    expect((await first).text).toBe("答1");
    expect(model.requests).toHaveLength(1);
  });

  it("rejects with the reason when aborted in mid-answer, and remembers nothing", async () => {
    const { model, open } = gatedModel();
    const responder = new Responder({ model, systemPrompt: "" });
    const stop = new AbortController();

    const first = responder.respond(groupTurn(text("一")), { signal: stop.signal });
    while (model.requests.length === 0) await new Promise(setImmediate);
    stop.abort("stopped");
    await expect(first).rejects.toBe("stopped");
    const second = responder.respond(groupTurn(text("二")));
    await open(1);
    await second;

    expect(model.requests[1]?.messages).toHaveLength(1);
  });

  it("lets go of a model that ignores its signal, and answers the next turn", async () => {
    const model = new FakeVisionLanguageModel();
    const deaf = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }),
    };
    const wellBehaved = model.stream.bind(model);
    let asked = 0;
    model.stream = (request) => (asked++ === 0 ? (deaf as never) : wellBehaved(request));
    const responder = new Responder({ model });
    const stop = new AbortController();

    const first = responder.respond(groupTurn(text("一")), { signal: stop.signal });
    while (asked === 0) await new Promise(setImmediate);
    stop.abort("stopped");
    await expect(first).rejects.toBe("stopped");
    await expect(responder.respond(groupTurn(text("二")))).resolves.toMatchObject({
      text: "好的。",
    });
  });

  it("keeps the place of a turn until its answer is delivered", async () => {
    const model = new FakeVisionLanguageModel();
    const responder = new Responder({ model });
    let delivered = () => {};
    const first = responder.respond(groupTurn(text("一")), {
      deliver: () =>
        new Promise((resolve) => {
          delivered = resolve;
        }),
    });
    const second = responder.respond(groupTurn(text("二")));
    await responder.respond(privateTurn("5", text("别的")));
    expect(model.requests).toHaveLength(2);
    delivered();
    await Promise.all([first, second]);
    expect(model.requests).toHaveLength(3);
  });

  it("refuses turns beyond the queue without loading their pictures", async () => {
    const { model, open } = gatedModel();
    const responder = new Responder({ model, maxQueuePerChat: 1 });
    let loads = 0;
    const load = async () => {
      loads++;
      return groupTurn(text("?"));
    };

    const first = responder.respond({ chat: group, load });
    const second = responder.respond({ chat: group, load });
    await expect(responder.respond({ chat: group, load })).rejects.toThrow(QueueFullError);
    expect(loads).toBe(2);

    await open(0);
    await open(1);
    await Promise.all([first, second]);
    const third = responder.respond({ chat: group, load });
    await open(2);
    await expect(third).resolves.toMatchObject({ text: "答3" });
  });

  it("forgets on reset, including the turn that is being answered", async () => {
    const { model, open } = gatedModel();
    const responder = new Responder({ model, systemPrompt: "" });

    const first = responder.respond(groupTurn(text("一")));
    while (model.requests.length === 0) await new Promise(setImmediate);
    responder.reset(group);
    await open(0);
    await first;
    const second = responder.respond(groupTurn(text("二")));
    await open(1);
    await second;

    expect(model.requests[1]?.messages).toHaveLength(1);
  });

  it("does not remember an empty answer", async () => {
    const model = new FakeVisionLanguageModel({ answer: ["  ", "好"] });
    const responder = new Responder({ model, systemPrompt: "" });
    expect((await responder.respond(groupTurn(text("一")))).text).toBe("  ");
    await responder.respond(groupTurn(text("二")));
    expect(model.requests[1]?.messages).toHaveLength(1);
  });

  it("shows and remembers no thought that a model wrote into its text", async () => {
    const model = new FakeVisionLanguageModel({
      answer: ["<think>\n嗯……\n</think>\n\n一只猫。", "好"],
    });
    const responder = new Responder({ model, systemPrompt: "" });
    const shown: string[] = [];
    const reply = await responder.respond(groupTurn(text("？")), {
      onPart: (part) => shown.push(`${part.type} ${part.text}`),
    });
    expect(reply).toMatchObject({ text: "一只猫。", reasoning: "嗯……" });
    expect(shown.join("")).not.toContain("think>");
    await responder.respond(groupTurn(text("然后？")));
    expect(model.requests[1]?.messages[1]).toEqual({ role: "assistant", content: "一只猫。" });
  });

  it("leaves a model that says the same for ever, and remembers it once", async () => {
    let left = false;
    async function* forEver(): AsyncGenerator<StreamPart> {
      try {
        for (;;) yield { type: "text-delta", text: "这一行没完没了。\n" };
      } finally {
        left = true;
      }
    }
    const model = new FakeVisionLanguageModel({ answer: [forEver(), "好"] });
    const responder = new Responder({ model, systemPrompt: "" });
    const reply = await responder.respond(groupTurn(text("？")));
    expect(reply.text.trim()).toBe("这一行没完没了。");
    expect(reply.result.finishReason).toBe("repetition");
    expect(left).toBe(true);
    await responder.respond(groupTurn(text("然后？")));
    expect(model.requests[1]?.messages[1]).toEqual({
      role: "assistant",
      content: "这一行没完没了。",
    });
  });

  it("cuts what the model itself says is repeated, and keeps its usage", async () => {
    async function* parts(): AsyncGenerator<StreamPart> {
      yield { type: "text-delta", text: "转圈。转圈。" };
      yield { ...FINISHED, finishReason: "repetition", repeatedCharacters: 3 };
    }
    const responder = new Responder({ model: new FakeVisionLanguageModel({ answer: parts() }) });
    const reply = await responder.respond(groupTurn(text("？")));
    expect(reply).toMatchObject({
      text: "转圈。",
      result: { finishReason: "repetition", usage: FINISHED.usage },
    });
  });

  it("takes names the model was shown off the start of an answer, those of earlier turns too", async () => {
    const model = new FakeVisionLanguageModel({
      answer: ["张三：好的", "小红：你好", "张三:嗯", "答案：42"],
    });
    const responder = new Responder({ model, systemPrompt: "" });
    const ask = async (turn: Turn) => (await responder.respond(turn)).text;
    expect(await ask(groupTurn(text("一")))).toBe("好的");
    const quote = { senderName: "小红", parts: [text("猫")] };
    const fromOther = { chat: group, sender: { id: "2", name: "王五" } };
    expect(await ask({ ...fromOther, quote, parts: [text("二")] })).toBe("你好");
    expect(await ask({ ...fromOther, parts: [text("三")] })).toBe("嗯");
    expect(await ask({ ...fromOther, parts: [text("四")] })).toBe("答案：42");
    const answers = model.requests[3]?.messages.filter(({ role }) => role === "assistant");
    expect(answers?.map(({ content }) => content)).toEqual(["好的", "你好", "嗯"]);
  });

  it("asks what the bot is called when an answer begins like a name", async () => {
    const model = new FakeVisionLanguageModel({ answer: "看图猫：在。" });
    const responder = new Responder({ model });
    const reply = await responder.respond(privateTurn("5", text("？")), {
      ownNames: async () => ["看图猫"],
    });
    expect(reply.text).toBe("在。");
  });

  it("passes the budget for thoughts on", async () => {
    const model = new FakeVisionLanguageModel();
    await new Responder({ model, maxReasoningTokens: 0 }).respond(groupTurn(text("？")));
    expect(model.requests[0]?.maxReasoningTokens).toBe(0);
  });
});
