import { describe, expect, it } from "vitest";
import { parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import type { TriggerContext } from "../../../src/bot/triggers/trigger.ts";
import {
  DEFAULT_TRIGGERS,
  type TriggerOptions,
  withTriggers,
} from "../../../src/bot/triggers/trigger-options.ts";
import { decideTrigger, GROUP_TRIGGER_NAMES } from "../../../src/bot/triggers/triggers.ts";
import { eventNames, readEvent } from "../../support/events.ts";

type Decision = "answer" | "ignore" | "if-own-quoted" | "not-a-message" | "string-format";

function context(changes: TriggerOptions = {}, more: Partial<TriggerContext> = {}): TriggerContext {
  return {
    triggers: withTriggers(DEFAULT_TRIGGERS, changes),
    quotesBot: async () => true,
    wantsAnswer: async () => 0,
    random: () => 0.5,
    ...more,
  };
}

/** `if-own-quoted`: only somebody who knows who wrote the quoted message can tell. */
function decide(event: unknown, triggers: TriggerOptions = {}): Decision {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") return parsed.kind;
  const trigger = decideTrigger(parsed.message, context(triggers));
  if (trigger instanceof Promise) return "if-own-quoted";
  return trigger === undefined ? "ignore" : "answer";
}

// What is not listed here is an event of another kind, and no message at all.
const DECISIONS: Readonly<Record<string, Decision>> = {
  group_at_all: "ignore",
  group_at_bot_text_image: "answer",
  group_empty_message: "ignore",
  group_face: "ignore",
  group_file: "ignore",
  group_forward_inline_content: "ignore",
  group_forward_no_content: "ignore",
  group_image_empty_url: "ignore",
  group_image_fallback_rkey: "ignore",
  group_image_large: "answer",
  group_image_legacy_keys: "ignore",
  group_image_md5_url: "ignore",
  group_image_only: "ignore",
  group_image_sticker_gif_named_jpg: "ignore",
  group_json_card: "ignore",
  group_markdown: "ignore",
  group_market_face_as_image: "ignore",
  group_message_string_format: "string-format",
  group_multi_image: "answer",
  group_no_role_sender: "answer",
  group_poke_dice_rps_segments: "ignore",
  group_quoted_target_image_message: "ignore",
  group_record: "ignore",
  group_reply_to_bot: "answer",
  group_reply_to_image_at_bot: "answer",
  group_stale_replayed: "answer",
  group_text: "ignore",
  group_text_cq_injection: "ignore",
  group_text_first_then_at: "answer",
  group_time_ms_fallback: "answer",
  group_video: "ignore",
  message_sent_group_self: "ignore",
  message_sent_private_self: "ignore",
  private_friend_image: "answer",
  private_friend_text: "answer",
  private_quote_reply_lost: "answer",
  private_temp_session: "answer",
};

describe("decideTrigger", () => {
  it.each(eventNames())("decides as documented for %s", (name) => {
    expect(decide(readEvent(name))).toBe(DECISIONS[name] ?? "not-a-message");
  });

  it("sees all 56 event fixtures, and every line of the table is one of them", () => {
    expect(eventNames()).toHaveLength(56);
    expect(Object.keys(DECISIONS).filter((name) => !eventNames().includes(name))).toEqual([]);
  });

  it("asks who was quoted when a group message quotes without a mention", () => {
    expect(decide(groupMessage({ text: "几岁了", quotes: 5 }))).toBe("if-own-quoted");
  });

  it.each([
    [{ group: [], private: true }, groupMessage({ mentionsBot: true, quotes: 5 }), "ignore"],
    [{ group: ["quote"], private: true }, groupMessage({ mentionsBot: true }), "ignore"],
    [{ group: ["mention"], private: true }, groupMessage({ quotes: 5 }), "ignore"],
    [{ group: ["any"], private: true }, groupMessage({ text: "闲聊" }), "answer"],
    [{ group: ["any"], private: false }, privateMessage({ text: "在吗" }), "ignore"],
  ] as const)("follows the triggers %j", (triggers, event, decision) => {
    expect(decide(event, triggers)).toBe(decision);
  });

  it("never answers the bot itself, even if it mentions itself", () => {
    const own = { ...groupMessage({ mentionsBot: true }), user_id: 3000000001 };
    expect(decide(own, { group: ["any"], private: true })).toBe("ignore");
  });

  const fires = async (
    event: unknown,
    triggers: TriggerOptions,
    more: Partial<TriggerContext> = {},
  ) => {
    const parsed = parseMessageEvent(event);
    if (parsed.kind !== "message") throw new Error(parsed.kind);
    return decideTrigger(parsed.message, context(triggers, more));
  };
  const cats = { nicknames: ["小猫", "Kitty"], prefixes: ["#", "问："], keywords: ["识图"] };

  it.each([
    ["小猫，这是什么？", "nickname"],
    ["这是什么呀，小猫？", "nickname"],
    ["ＫＩＴＴＹ look", "nickname"],
    ["我家小猫真可爱", undefined],
    ["#天气", "prefix"],
    ["问：几点了", "prefix"],
    ["有#号", undefined],
    ["帮我识图一下", "keyword"],
    ["识 图", undefined],
    ["", undefined],
  ])("knows what %j is by nickname, prefix and keyword", async (text, expected) => {
    expect(await fires(groupMessage({ text }), cats)).toBe(expected);
  });

  it("has its nicknames, prefixes and keywords on by default, and they fire by what is given", async () => {
    expect(await fires(groupMessage({ text: "小猫" }), {})).toBeUndefined();
    expect(await fires(groupMessage({ text: "小猫" }), { ...cats, group: [] })).toBeUndefined();
  });

  it("takes regular expressions in time that grows with the text only", async () => {
    const patterns = ["^(a+)+$", "(x+x+)+y", "看.{0,3}图"];
    expect(await fires(groupMessage({ text: "请看看这张图" }), { patterns })).toBe("regex");
    // A backtracking engine would need longer than the universe has.
    for (const letter of ["a", "x"]) {
      const evil = `${letter.repeat(5000)}!`;
      expect(await fires(groupMessage({ text: evil }), { patterns })).toBeUndefined();
    }
  });

  it.each([
    ["group_image_only", "picture"],
    ["group_multi_image", "mention"],
    ["group_market_face_as_image", undefined],
    ["group_text", undefined],
  ])("knows a message of pictures only: %s", async (name, expected) => {
    expect(await fires(readEvent(name), { group: ["mention", "picture"] })).toBe(expected);
  });

  it("fires at random as often as it was told, and never on what says nothing", async () => {
    const options = { group: ["probability"], probability: 0.3 } as const;
    const at = (random: number, event: unknown = groupMessage({ text: "早" })) =>
      fires(event, options, { random: () => random });
    expect([await at(0.29), await at(0.3)]).toEqual(["probability", undefined]);
    expect(await at(0, readEvent("group_empty_message"))).toBeUndefined();
  });

  it("asks the model last, and only when it was told to", async () => {
    let asked = 0;
    const wantsAnswer = async () => {
      asked++;
      return 0.7;
    };
    const ask = (options: TriggerOptions, text = "有人知道吗") =>
      fires(groupMessage({ text }), options, { wantsAnswer, quotesBot: async () => false });
    expect(await ask({})).toBeUndefined();
    expect(await ask({ group: ["decide", "mention"], decide: { threshold: 0.7 } })).toBe("decide");
    expect(await ask({ group: ["decide"], decide: { threshold: 0.71 } })).toBeUndefined();
    expect(asked).toBe(2);
    expect(await ask({ group: ["decide", "keyword"], keywords: ["知道"] })).toBe("keyword");
    expect(asked).toBe(2);
    expect(await ask({ group: ["decide"] }, "")).toBeUndefined();
    expect(asked).toBe(2);
  });

  it("goes on to the next trigger when a look-up says no", async () => {
    const options = { group: ["quote", "decide"], decide: { threshold: 0.5 } } as const;
    const trigger = fires(groupMessage({ text: "好看", quotes: 5 }), options, {
      quotesBot: async () => false,
      wantsAnswer: async () => 1,
    });
    expect(await trigger).toBe("decide");
  });

  it("never fires on notices or typed codes, whichever triggers are on", async () => {
    const group = GROUP_TRIGGER_NAMES.filter((name) => !["any", "probability"].includes(name));
    expect(await fires(readEvent("group_text_cq_injection"), { group })).toBeUndefined();
    for (const name of ["notice_input_status", "notice_poke_group", "notice_group_recall"]) {
      expect(parseMessageEvent(readEvent(name)).kind).toBe("not-a-message");
    }
  });
});
