// Quotes lost on the way, newer segments, and which picture is meant when the question shows none.

import { describe, expect, it, onTestFinished } from "vitest";
import { DEFAULT_PHRASES } from "../../src/bot/reply/phrases.ts";
import { groupMessage, privateMessage } from "../../src/bot/testing.ts";
import type { FakeAnswers } from "../../src/vlm/testing.ts";
import { PIXEL_PNG, readCase, readEvent } from "../support/events.ts";
import { leastGrowth } from "../support/flat-memory.ts";
import { startPictureServer } from "../support/picture-server.ts";
import { type QuickBotOptions, quickBot } from "../support/quick-bot.ts";

const HER = { userId: 1000000005, nickname: "小红" };
const OTHER_PNG = Uint8Array.from([...PIXEL_PNG, 1]);

function setUp(options: QuickBotOptions = {}, answer: FakeAnswers = "一只猫。") {
  const made = quickBot({ answer, maxMessageAgeMs: Infinity, ...options });
  const { model } = made;
  /** The last question as one string, `<图>` for a picture. */
  const asked = () => {
    const content = model.requests.at(-1)?.messages.at(-1)?.content;
    if (typeof content === "string" || content === undefined) return content;
    return content.map((part) => (part.type === "image" ? "<图>" : part.text)).join("");
  };
  const pictures = () =>
    model.requests.flatMap(({ messages }) => {
      const content = messages.at(-1)?.content;
      return typeof content === "string" || content === undefined
        ? []
        : content.filter((part) => part.type === "image");
    });
  return { ...made, asked, pictures };
}

const at = (text: string, more: object = {}) => groupMessage({ text, mentionsBot: true, ...more });
const shows = (more: object = {}) => groupMessage({ images: [PIXEL_PNG], ...more });

describe("a quote that was lost on the way", () => {
  it("leads to the asker's last picture", async () => {
    const { napcat, receive, asked } = setUp();
    // The picture itself, without the internet.
    const before = readCase("group_image_before");
    napcat.answer("get_msg", { ...shows(), message_id: before.message_id });
    await receive(before);
    expect(napcat.calls, "nothing is fetched before somebody asks").toEqual([]);
    await receive(readCase("group_at_text_quote_lost"));
    expect(asked()).toBe("群名片·小明：<图>这是什么");
  });

  it.each(["这是什么", "这是谁？", "这张图里有几个人", "what is this?"])(
    "makes the bot ask for the picture where there is none: %s",
    async (text) => {
      const { napcat, model, receive } = setUp();
      await receive(at(text));
      expect(model.requests).toEqual([]);
      expect(napcat.sentTexts).toEqual([DEFAULT_PHRASES.pictureMissing]);
    },
  );

  it("completes the question with the picture that comes then, and with that only once", async () => {
    const { napcat, receive, asked, model } = setUp();
    await receive(at("这是什么"), at("这是谁"), shows());
    expect(napcat.sentTexts).toEqual([
      DEFAULT_PHRASES.pictureMissing,
      DEFAULT_PHRASES.pictureMissing,
      "一只猫。",
    ]);
    expect(asked()).toBe("小明：<图>这是谁");
    await receive(shows());
    expect(model.requests, "nobody asked about this one").toHaveLength(1);
  });

  it("does not ask for what came too long ago to be answered, but a moment before", async () => {
    const { receive, asked } = setUp({ maxMessageAgeMs: 60_000 });
    await receive(shows({ timeMs: Date.now() - 70_000 }), at("这是什么"));
    expect(asked()).toBe("小明：<图>这是什么");
  });

  it("looks into a forward that came a moment before", async () => {
    const { napcat, receive, asked } = setUp();
    napcat.answer("get_forward_msg", { messages: [shows(HER)] });
    const forward = { type: "forward", data: { id: "7403218976543210987" } };
    await receive({ ...shows(), message: [forward] });
    expect(napcat.calls, "nothing is looked up before somebody asks").toEqual([]);
    await receive(at("里面说了什么"));
    expect(asked()).toContain("[转发的聊天记录]\n小红：<图>\n[聊天记录结束]");
  });

  it("bothers nobody who did not speak to the bot", async () => {
    const { model, receive } = setUp({ triggers: { group: ["any"] } });
    await receive(groupMessage({ text: "这是什么" }));
    expect(model.requests).toHaveLength(1);
  });

  it("leaves to the model what may be about something else", async () => {
    const { model, receive } = setUp();
    await receive(at("你好"), at("这是什么"), privateMessage({ text: "这是什么" }));
    expect(model.requests, "words were said before, or nobody can have quoted").toHaveLength(3);
    await receive(at("图里有什么"));
    expect(model.requests, "a picture was never shown").toHaveLength(3);
    await receive(at("看", { images: [PIXEL_PNG] }), at("图里有什么"));
    expect(model.requests, "now there is one in the history").toHaveLength(5);
  });
});

describe("stickers", () => {
  it.each([
    ["see", "小明：<图><图>好看吗"],
    ["name", "小明：[动画表情][开心]好看吗"],
    ["ignore", "小明：好看吗"],
  ] as const)("are %s", async (stickers, expected) => {
    const { napcat, receive, asked } = setUp({ images: { stickers } });
    napcat.answer("get_msg", shows());
    const data = (name: string, png: Uint8Array) => {
      const [segment] = readEvent(name).message as { data: object }[];
      return { ...segment?.data, url: `base64://${Buffer.from(png).toString("base64")}` };
    };
    const both = [
      { type: "image", data: data("group_image_sticker_gif_named_jpg", PIXEL_PNG) },
      { type: "image", data: data("group_market_face_as_image", OTHER_PNG) },
    ];
    const question = at("好看吗");
    await receive({ ...question, message: [...both, ...(question.message as object[])] });
    expect(asked()).toBe(expected);
    await receive(at("这是什么", { quotes: 5 }));
    expect(asked()).toContain("<图>");
  });
});

describe("newer segments", () => {
  it.each([
    ["group_flash_file", "[无法显示的内容]里面是什么"],
    ["group_flashtransfer", "[无法显示的内容]里面是什么"],
    ["group_image_file_segment", "看这个[文件]"],
  ])("%s is told as unseen", async (name, expected) => {
    const { receive, asked, napcat } = setUp();
    await receive(shows(), readCase(name));
    expect(asked()?.replaceAll(" ", "")).toBe(`群名片·小明：${expected}`);
    expect(napcat.sentTexts).toEqual(["一只猫。"]);
  });
});

describe("which picture is meant", () => {
  it.each<[string, object[], string | undefined]>([
    ["its own", [shows(), at("这是什么", { images: [OTHER_PNG] })], "小明：<图>这是什么"],
    ["the one sent just before", [shows(), at("这是什么")], "小明：<图>这是什么"],
    ["the one sent just before, for a bare mention", [shows(), at("")], "小明：<图>"],
    [
      "the asker's, though somebody else's is newer",
      [shows(), shows(HER), at("这是什么")],
      "小明：<图>这是什么",
    ],
    [
      "somebody else's, with a name",
      [shows(HER), at("这张图里是什么")],
      "[引用小红的消息]\n<图>\n[引用结束]\n小明：这张图里是什么",
    ],
    [
      "somebody else's, for a bare mention",
      [shows(HER), at("")],
      "[引用小红的消息]\n<图>\n[引用结束]\n小明：",
    ],
    ["none, for another question", [shows(HER), at("你好")], "小明：你好"],
    ["none of another chat", [shows({ groupId: 7 }), at("你好")], "小明：你好"],
  ])("%s", async (_name, events, expected) => {
    const { receive, asked } = setUp();
    await receive(...events);
    expect(asked()).toBe(expected);
  });

  it("is the quoted one, though the asker sent one since", async () => {
    const { napcat, receive, asked, pictures } = setUp();
    napcat.answer("get_msg", groupMessage({ images: [OTHER_PNG], messageId: 5, ...HER }));
    await receive(shows(), at("这是什么", { quotes: 5 }));
    expect(asked()).toBe("[引用小红的消息]\n<图>\n[引用结束]\n小明：这是什么");
    expect(pictures()).toHaveLength(1);
    expect(pictures()[0]).toMatchObject({ data: Buffer.from(OTHER_PNG) });
  });

  it("is shown once: the next question finds it in the history", async () => {
    const { receive, asked, model } = setUp();
    await receive(shows(), at("这是什么"), at("它几岁"));
    expect(asked()).toBe("小明：它几岁");
    expect(JSON.stringify(model.requests.at(-1)?.messages[0])).toContain("image");
  });

  it("is shown again when the first answer failed", async () => {
    const answers = [new Error("out of memory"), "一只猫。"];
    const { receive, asked, model } = setUp({}, () => {
      const answer = answers.shift() ?? "";
      if (answer instanceof Error) throw answer;
      return answer;
    });
    await receive(shows(), at("这是什么"), at("这是什么"));
    expect(model.requests).toHaveLength(2);
    expect(asked()).toBe("小明：<图>这是什么");
  });

  it("is not one that was taken back", async () => {
    const { napcat, receive } = setUp();
    const recall = {
      ...readEvent("notice_group_recall"),
      group_id: 700000003,
      message_id: 61,
    };
    await receive(shows({ messageId: 61 }), recall, at("这是什么"));
    expect(napcat.sentTexts).toEqual([DEFAULT_PHRASES.pictureMissing]);
  });

  it("is one in a merged forward, or in a forward that is quoted", async () => {
    const server = await startPictureServer({}, PIXEL_PNG);
    onTestFinished(() => server.close());
    const images = { extraHosts: [server.host], allowPrivateAddresses: true };
    const node = {
      sender: { nickname: "小红" },
      message: [{ type: "image", data: { file: "A.png", url: server.url("/a") } }],
    };
    const forward = { type: "forward", data: { id: "7570000000005551234", content: [node] } };
    const { napcat, receive, asked } = setUp({ images });
    const mention = { type: "at", data: { qq: "3000000001" } };
    await receive({ ...at(""), message: [mention, forward] });
    const shown = "[转发的聊天记录]\n小红：<图>\n[聊天记录结束]";
    expect(asked()).toBe(`小明：${shown}`);

    napcat.answer("get_msg", { ...groupMessage({ messageId: 5, ...HER }), message: [forward] });
    await receive(at("说了什么", { quotes: 5 }));
    expect(asked()).toBe(`[引用小红的消息]\n${shown}\n[引用结束]\n小明：说了什么`);
  });

  it("costs nothing until somebody asks", async () => {
    const server = await startPictureServer({}, PIXEL_PNG);
    onTestFinished(() => server.close());
    const images = { extraHosts: [server.host], allowPrivateAddresses: true };
    const { napcat, receive, model, bot } = setUp({ images });
    const picture = (index: number) => ({
      ...groupMessage({ messageId: index }),
      message: [{ type: "image", data: { file: `${index}.png`, url: server.url(`/${index}`) } }],
    });
    for (let index = 1; index <= 1000; index++) napcat.receive(picture(index));
    await bot.idle();
    expect([server.requests, napcat.calls, model.requests]).toEqual([[], [], []]);
    await receive(at("这是什么"));
    expect(server.requests).toEqual(["/1000"]);
  });

  it("keeps no more for each thousand pictures that nobody asks about", async () => {
    const { napcat, bot } = setUp();
    const evening = async () => {
      for (let index = 0; index < 1000; index++) {
        // Past the memory for messages that came already, so that it is full from the first time on.
        for (let more = 0; more < 10; more++) napcat.receive(shows({ groupId: 1 + (index % 30) }));
      }
      await bot.idle();
    };
    const grown = await leastGrowth(evening, { rounds: 3, of: "heapUsed" });
    expect(grown).toBeLessThan(1024 * 1024);
  });

  it("can be switched off", async () => {
    const { receive, asked } = setUp({ images: { recentOwnMs: 0, recentOthersMs: 0 } });
    await receive(shows(), at("你好"));
    expect(asked()).toBe("小明：你好");
  });
});
