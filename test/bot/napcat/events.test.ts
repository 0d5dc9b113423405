import { describe, expect, it } from "vitest";
import { type IncomingMessage, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { eventNames, readEvent } from "../../support/events.ts";

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(`Parsed as ${parsed.kind}.`);
  return parsed.message;
}

const imagesOf = (message: IncomingMessage) =>
  message.segments.flatMap((segment) => (segment.type === "image" ? [segment.image] : []));

describe("parseMessageEvent", () => {
  it("reads a group message with a mention, text and a picture", () => {
    expect(parse(readEvent("group_at_bot_text_image"))).toEqual({
      selfId: "3000000001",
      messageId: "512092992",
      chat: { kind: "group", id: "700000003" },
      target: { kind: "group", groupId: "700000003" },
      sender: { id: "1000000002", name: "群名片·小明" },
      fromSelf: false,
      timeMs: 1790000002000,
      segments: [
        { type: "at", target: "3000000001" },
        { type: "text", text: " 这张图里是什么？" },
        {
          type: "image",
          image: {
            file: "A8A63B4D63A08AED720D0F5F249E07D9.jpg",
            url: expect.stringContaining("multimedia.nt.qq.com.cn/download?appid=1407&fileid="),
            bytes: 183204,
            messageId: "512092992",
            index: 0,
            marketFace: false,
          },
        },
      ],
    });
  });

  it("takes the nickname where the group card is empty", () => {
    expect(parse(readEvent("group_quoted_target_image_message")).sender.name).toBe("小红");
  });

  it("takes milliseconds as they are", () => {
    expect(parse(readEvent("group_time_ms_fallback")).timeMs).toBe(1790000000123);
  });

  it("knows a temporary session and the group it came from", () => {
    expect(parse(readEvent("private_temp_session"))).toMatchObject({
      chat: { kind: "private", id: "1000000002" },
      target: { kind: "private", userId: "1000000002", temporary: true, groupId: "700000003" },
    });
  });

  it("files the bot's own private message under the other person", () => {
    expect(parse(readEvent("message_sent_private_self"))).toMatchObject({
      fromSelf: true,
      chat: { kind: "private", id: "1000000002" },
    });
  });

  it("numbers the pictures of a message", () => {
    const images = imagesOf(parse(readEvent("group_multi_image")));
    expect(images.map(({ index }) => index)).toEqual([0, 1, 2]);
  });

  it("reads the older spellings of a picture, and knows a sticker of the shop", () => {
    const [old] = imagesOf(parse(readEvent("group_image_legacy_keys")));
    expect(old).toMatchObject({ file: "{EEE95399-E7B7-8B1B-EAF9-CC6027AFB316}.gif", bytes: 20480 });
    const [face] = imagesOf(parse(readEvent("group_market_face_as_image")));
    expect(face).toMatchObject({ marketFace: true, bytes: undefined });
  });

  it("takes typed codes for the text they are", () => {
    const { segments } = parse(readEvent("group_text_cq_injection"));
    expect(segments.map(({ type }) => type)).toEqual(["text"]);
  });

  it("refuses messages in string format, also after node-napcat-ts has cut their links", () => {
    expect(parseMessageEvent(readEvent("group_message_string_format")).kind).toBe("string-format");
    const cut = {
      ...readEvent("group_at_bot_text_image"),
      message: [{ type: "image", data: { url: "https://multimedia.nt.qq.com.cn/download?appid" } }],
    };
    expect(parseMessageEvent(cut).kind).toBe("string-format");
  });

  it("accepts ids as strings and survives missing fields", () => {
    const { sender, timeMs, segments } = parse({
      post_type: "message",
      message_type: "private",
      self_id: "3",
      user_id: "4",
      message_id: "5",
      message: [null, 1, { type: "text" }, { type: "at" }, { type: "image" }, { type: "neu" }],
    });
    expect({ sender, timeMs }).toEqual({ sender: { id: "4", name: "" }, timeMs: undefined });
    expect(segments.map(({ type }) => type)).toEqual(["text", "image", "other"]);
  });

  it.each([undefined, null, 7, "x", [], {}, { post_type: "message" }, { message: [] }])(
    "takes %j for no message",
    (event) => {
      expect(parseMessageEvent(event)).toEqual({ kind: "not-a-message" });
    },
  );

  it.each(["\u0000", "a\u0000b", "\ud800", "1\n2", "9".repeat(257)])(
    "takes no id that no server would write (%j)",
    (id) => {
      const event = readEvent("group_at_bot_text_image");
      for (const key of ["message_id", "self_id", "user_id", "group_id"]) {
        expect(parseMessageEvent({ ...event, [key]: id })).toEqual({ kind: "not-a-message" });
      }
    },
  );

  it("never throws, whatever field of whatever fixture is broken", () => {
    for (const name of eventNames()) {
      const event = readEvent(name);
      for (const key of Object.keys(event)) {
        for (const broken of [null, "", [], {}, Number.NaN, [[]], [{ type: "image", data: 5 }]]) {
          expect(() => parseMessageEvent({ ...event, [key]: broken })).not.toThrow();
        }
      }
    }
  });
});
