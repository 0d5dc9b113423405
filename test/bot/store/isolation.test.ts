// Who shares a past, as whom the bot speaks, and what outlives it: a bot on a fake NapCat with a store on the disk.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Isolation } from "../../../src/bot/chat/history-key.ts";
import { Responder } from "../../../src/bot/chat/responder.ts";
import { installVlm } from "../../../src/bot/install-vlm.ts";
import { openChatStore } from "../../../src/bot/store/chat-store.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { FakeVisionLanguageModel } from "../../../src/vlm/testing.ts";
import { PIXEL_PNG, readEvent } from "../../support/events.ts";
import { tempDir } from "../../support/temp-dir.ts";

const root = await tempDir();
const group = { kind: "group", id: "7" } as const;
const direct = (id: string) => ({ kind: "private", id }) as const;

function turn(chat: typeof group | ReturnType<typeof direct>, id: string, said: string) {
  return { chat, sender: { id, name: `人${id}` }, parts: [{ type: "text", text: said } as const] };
}

/** What the model was told before the last question. */
function seen(model: FakeVisionLanguageModel): string[] {
  const { messages } = model.requests.at(-1)!;
  return messages
    .filter(({ role }) => role === "user")
    .slice(0, -1)
    .map(({ content }) => String(content));
}

describe("isolation", () => {
  it.each<[Isolation, string[]]>([
    ["chat", ["人1：甲", "人2：乙"]],
    ["person-in-chat", ["人1：甲"]],
    ["person", ["人1：甲", "丙"]],
  ])("%s", async (isolation, expected) => {
    const model = new FakeVisionLanguageModel();
    const responder = new Responder({ model, isolation });
    await responder.respond(turn(group, "1", "甲"));
    await responder.respond(turn(group, "2", "乙"));
    await responder.respond(turn(direct("1"), "1", "丙"));
    await responder.respond(turn(group, "1", "丁"));
    expect(seen(model)).toEqual(expected);
  });

  it("can be changed and changed back while the bot runs, and no past is lost", async () => {
    const model = new FakeVisionLanguageModel();
    let isolation: Isolation = "chat";
    const responder = new Responder({ model }, () => ({ isolation, systemPrompt: "" }));
    await responder.respond(turn(group, "1", "甲"));
    isolation = "person-in-chat";
    await responder.respond(turn(group, "1", "乙"));
    expect(seen(model)).toEqual([]);
    await responder.respond(turn(group, "1", "丙"));
    expect(seen(model)).toEqual(["人1：乙"]);
    isolation = "chat";
    await responder.respond(turn(group, "2", "丁"));
    expect(seen(model)).toEqual(["人1：甲"]);
  });

  it("forgets one person's past in a chat, a chat's as a whole, and what a person asked anywhere", async () => {
    const model = new FakeVisionLanguageModel();
    const responder = new Responder({ model, isolation: "person-in-chat" });
    const ask = (id: string) => responder.respond(turn(group, id, "问"));
    await ask("1");
    await ask("2");
    responder.reset(group, "1");
    expect([
      responder.remembered(group, "1").turns,
      responder.remembered(group, "2").turns,
    ]).toEqual([0, 1]);
    await ask("1");
    responder.reset(group);
    expect([
      responder.remembered(group, "1").turns,
      responder.remembered(group, "2").turns,
    ]).toEqual([0, 0]);
    await ask("1");
    await responder.respond(turn(direct("1"), "1", "问"));
    await ask("2");
    responder.forgetPerson("1");
    expect(responder.remembered(direct("1"), "1").turns).toBe(0);
    expect([
      responder.remembered(group, "1").turns,
      responder.remembered(group, "2").turns,
    ]).toEqual([0, 1]);
  });

  it("tells the model to forget under the name it was asked under", async () => {
    const model = new FakeVisionLanguageModel();
    const responder = new Responder({ model, isolation: "person" });
    await responder.respond({ ...turn(group, "1", "甲"), messageIds: ["5"] });
    expect(model.requests.at(-1)?.chat).toBe("person:1");
    responder.forgetMessage(group, "5");
    expect(responder.remembered(group, "1").turns).toBe(0);
  });
});

describe("a persona", () => {
  it("is that of the group, or of the person in private; with one past everywhere, the person's", async () => {
    const model = new FakeVisionLanguageModel();
    const napcat = new FakeNapCat();
    const chats = {
      "group:700000003": { systemPrompt: "你是海盗。" },
      "private:*": { systemPrompt: "你是管家。" },
      "group:8": { isolation: "person" as const },
    };
    const bot = installVlm(napcat, {
      model,
      chats,
      merge: { windowMs: 0 },
      systemPrompt: "看图。",
    });
    const persona = async (event: object) => {
      napcat.receive(event);
      await bot.idle();
      return model.requests.at(-1)?.messages[0]?.content;
    };
    expect(await persona(groupMessage({ mentionsBot: true, text: "在吗" }))).toBe("你是海盗。");
    expect(await persona(privateMessage({ text: "在吗" }))).toBe("你是管家。");
    expect(await persona(groupMessage({ mentionsBot: true, text: "在吗", groupId: 8 }))).toBe(
      "你是管家。",
    );
    expect(await persona(groupMessage({ mentionsBot: true, text: "在吗", groupId: 9 }))).toBe(
      "看图。",
    );
    await bot.close();
  });
});

describe("a bot with a store", () => {
  it("remembers over a restart, and forgets there what is recalled afterwards", async () => {
    const directory = join(root, "bot");
    const question = groupMessage({ mentionsBot: true, text: "甲" });
    for (const [said, expected] of [
      [question, []],
      [groupMessage({ mentionsBot: true, text: "乙" }), ["小明：甲"]],
    ] as const) {
      await using store = await openChatStore({ directory });
      const model = new FakeVisionLanguageModel();
      const napcat = new FakeNapCat();
      const bot = installVlm(napcat, { model, store, merge: { windowMs: 0 } });
      napcat.receive(said);
      await bot.idle();
      expect(seen(model).map((text) => text.replace(/^.*：/u, "小明："))).toEqual(expected);
      await bot.close();
    }
    await using store = await openChatStore({ directory });
    const napcat = new FakeNapCat();
    const bot = installVlm(napcat, { model: new FakeVisionLanguageModel(), store });
    napcat.receive({
      ...readEvent("notice_group_recall"),
      group_id: 700000003,
      message_id: question.message_id,
    });
    await bot.idle();
    expect(store.histories.read("group:700000003")).toHaveLength(1);
    await bot.close();
  });

  it("asks the last question again and takes it back, also one from before a restart", async () => {
    const directory = join(root, "again");
    const requests: unknown[] = [];
    for (const texts of [["甲", "乙"], ["/retry"], ["/undo", "/undo", "/undo", "丙"]]) {
      await using store = await openChatStore({ directory });
      const model = new FakeVisionLanguageModel();
      const napcat = new FakeNapCat();
      const bot = installVlm(napcat, {
        model,
        store,
        systemPrompt: "",
        merge: { windowMs: 0 },
        reply: { gapMs: 0, jitterMs: 0 },
      });
      for (const text of texts) {
        const mentionsBot = !text.startsWith("/");
        napcat.receive(groupMessage({ text, mentionsBot, images: mentionsBot ? [PIXEL_PNG] : [] }));
        await bot.idle();
      }
      requests.push(
        ...model.requests.map(({ messages }) => messages.map(({ content }) => shown(content))),
      );
      if (texts.length > 2) {
        expect(napcat.sentTexts.slice(0, 3)).toEqual([
          "好的，上一个问题和回答就当没有过。",
          "好的，上一个问题和回答就当没有过。",
          "没有可以撤销的问题。",
        ]);
      }
      await bot.close();
    }
    expect(requests.map((messages) => (messages as string[]).length)).toEqual([1, 3, 3, 1]);
    const [, second, again] = requests as string[][];
    expect(again, "the same past, the same question").toEqual(second);
    expect(again?.at(-1)).toContain("乙");
  });

  it("keeps the persona that somebody gave it over a restart", async () => {
    const directory = join(root, "persona");
    const model = new FakeVisionLanguageModel();
    for (const text of ["/persona 你是海盗。", "在吗"]) {
      await using store = await openChatStore({ directory });
      const napcat = new FakeNapCat();
      const bot = installVlm(napcat, { model, store, merge: { windowMs: 0 } });
      napcat.receive(privateMessage({ text }));
      await bot.idle();
      await bot.close();
    }
    expect(model.requests.map(({ messages }) => messages[0]?.content)).toEqual(["你是海盗。"]);
  });
});

/** A message without its pictures being copied out. */
function shown(content: unknown): string {
  return JSON.stringify(content, (_key, value) => (value instanceof Uint8Array ? "<图>" : value));
}
