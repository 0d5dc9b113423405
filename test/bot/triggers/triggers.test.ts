import { describe, expect, it } from "vitest";
import { parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { DEFAULT_TRIGGERS } from "../../../src/bot/options.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { decideTrigger } from "../../../src/bot/triggers/triggers.ts";
import { eventNames, readEvent } from "../../support/events.ts";

type Decision = "answer" | "ignore" | "if-own-quoted" | "not-a-message" | "string-format";

/** `if-own-quoted`: only somebody who knows who wrote the quoted message can tell. */
function decide(event: unknown, triggers = DEFAULT_TRIGGERS): Decision {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") return parsed.kind;
  const trigger = decideTrigger(parsed.message, triggers, { quotesBot: async () => true });
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
});
