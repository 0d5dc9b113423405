import { describe, expect, it } from "vitest";
import { isEmptyMessage, loadTurn, type TurnSources } from "../../../src/bot/chat/load-turn.ts";
import type { QuotedMessage } from "../../../src/bot/chat/quoted-message.ts";
import type { TurnPart } from "../../../src/bot/chat/turn.ts";
import { ImageFetchError, type ImageFetchErrorCode } from "../../../src/bot/errors.ts";
import { type IncomingMessage, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { DEFAULT_PHRASES } from "../../../src/bot/reply/phrases.ts";
import { groupMessage } from "../../../src/bot/testing.ts";
import { eventNames, readEvent } from "../../support/events.ts";

const NONE: QuotedMessage = { kind: "none" };

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}

function found(event: unknown, quoted: QuotedMessage = NONE): QuotedMessage {
  return { kind: "found", message: parse(event), quoted };
}

/** A group message whose pictures have these names as their data. */
function pictures(...names: string[]) {
  const message = names.map((file) => ({ type: "image", data: { file } }));
  return { ...groupMessage(), message };
}

const data = (name: string) => new TextEncoder().encode(name);
const image = (name: string): TurnPart => ({ type: "image", data: data(name) });
const text = (text: string): TurnPart => ({ type: "text", text });
const missing = (number: number, reason: string): TurnPart => ({
  type: "note",
  text: `[图片${number}无法读取：${reason}]`,
  replaces: "image",
});

const sources: TurnSources = {
  fetchImage: async ({ file }) => data(file),
  phrases: DEFAULT_PHRASES,
  maxImages: 4,
};

describe("loadTurn", () => {
  it("drops the mention that called the bot", async () => {
    const turn = await loadTurn(parse(readEvent("group_text_first_then_at")), NONE, sources);
    expect(turn.parts.map(({ type }) => type)).toEqual(["image", "text", "text"]);
    expect(JSON.stringify(turn.parts)).not.toContain("3000000001");
    const simple = await loadTurn(parse(readEvent("group_at_bot_text_image")), NONE, sources);
    expect(simple.parts[1]).toEqual(text("这张图里是什么？"));
    expect(simple.sender.name).toBe("群名片·小明");
  });

  it("puts pictures behind all text in front of it, and leaves mixed ones where they are", async () => {
    const segments = (kinds: string) =>
      [...kinds].map((kind) =>
        /[a-z]/u.test(kind)
          ? { type: "image", data: { file: kind } }
          : { type: "text", data: { text: kind } },
      );
    const order = async (kinds: string) => {
      const message = parse({ ...groupMessage(), message: segments(kinds) });
      const { parts } = await loadTurn(message, NONE, sources);
      return parts
        .map((part) => (part.type === "image" ? new TextDecoder().decode(part.data) : part.text))
        .join("");
    };
    expect(await Promise.all(["问ab", "ab问", "一a二b", "一a二", "ab", "问"].map(order))).toEqual([
      "ab问",
      "ab问",
      "一a二b",
      "一a二",
      "ab",
      "问",
    ]);
  });

  it("puts the quoted message in front, without the mention QQ adds to it", async () => {
    const turn = await loadTurn(
      parse(readEvent("group_reply_to_image_at_bot")),
      found(readEvent("group_quoted_target_image_message")),
      sources,
    );
    expect(turn.quote).toMatchObject({ senderName: "小红", parts: [{ type: "image" }] });
    expect(turn.parts).toEqual([text("这是什么")]);
  });

  it("nests a quote of a quote", async () => {
    const inner = found(groupMessage({ text: "原话", nickname: "小红" }));
    const turn = await loadTurn(
      parse(groupMessage({ text: "问" })),
      found(groupMessage({ text: "中间" }), inner),
      sources,
    );
    const said = turn.quote?.parts.map((part) => (part.type === "image" ? "" : part.text)).join("");
    expect(said).toBe("[引用小红的消息]\n原话\n[引用结束]\n中间");
  });

  it("goes on without a quote that is lost, and says so", async () => {
    const turn = await loadTurn(parse(groupMessage({ text: "问" })), { kind: "lost" }, sources);
    expect(turn.quote).toBeUndefined();
    expect(turn.parts).toEqual([{ type: "note", text: "[引用的消息已无法查看]" }, text("问")]);
  });

  it("puts a numbered note in place of a picture that cannot be had", async () => {
    const errors: unknown[] = [];
    const turn = await loadTurn(parse(pictures("a", "b", "c")), NONE, {
      ...sources,
      onImageError: (error) => errors.push(error),
      fetchImage: async ({ file }) => {
        if (file === "b") throw new ImageFetchError("expired", "x");
        return data(file);
      },
    });
    expect(turn.parts).toEqual([image("a"), missing(2, "链接已过期"), image("c")]);
    expect(errors).toHaveLength(1);
  });

  it.each<[ImageFetchErrorCode | undefined, string]>([
    ["url-refused", "来源不受信任"],
    ["http-status", "下载失败"],
    ["not-an-image", "内容不是图片"],
    ["too-large", "图片太大"],
    ["timed-out", "下载超时"],
    ["network", "下载失败"],
    ["unavailable", "下载失败"],
    [undefined, "下载失败"],
  ])("gives the reason for %s", async (code, reason) => {
    const error =
      code === undefined ? new TypeError("CANARY") : new ImageFetchError(code, "CANARY");
    const turn = await loadTurn(parse(pictures("a")), NONE, {
      ...sources,
      fetchImage: () => Promise.reject(error),
    });
    expect(turn.parts).toEqual([missing(1, reason)]);
  });

  it("numbers pictures as the model sees them, and spares those of the message itself", async () => {
    const fetched: string[] = [];
    const turn = await loadTurn(parse(pictures("c", "d")), found(pictures("a", "b")), {
      ...sources,
      maxImages: 3,
      fetchImage: async ({ file }) => {
        fetched.push(file);
        return data(file);
      },
    });
    expect(turn.quote?.parts).toEqual([image("a"), missing(2, "图片太多")]);
    expect(turn.parts).toEqual([image("c"), image("d")]);
    expect(fetched.sort(), "what is too much is not downloaded").toEqual(["a", "c", "d"]);
  });

  it("names what the model cannot be shown", async () => {
    const event = {
      ...groupMessage(),
      message: [
        { type: "record", data: {} },
        { type: "face", data: { id: "178", raw: { faceText: "/斜眼笑" } } },
        { type: "face", data: { id: "1" } },
        { type: "at", data: { qq: "all" } },
        { type: "at", data: { qq: "10086" } },
        { type: "neu", data: {} },
        { type: "constructor", data: {} },
        { type: "__proto__", data: {} },
      ],
    };
    const { parts } = await loadTurn(parse(event), NONE, sources);
    const said = parts.map((part) => (part.type === "image" ? "" : part.text)).join("");
    expect(said).toBe(`[语音][斜眼笑][表情]@全体成员 @10086 ${"[无法显示的内容]".repeat(3)}`);
  });

  it("cuts what is too long to be computed while others wait, and says so", async () => {
    const segment = (said: string) => ({ type: "text", data: { text: said } });
    const long = "字".repeat(5_999);
    const event = {
      ...groupMessage(),
      message: [segment(long), segment("😀尾"), { type: "image", data: { file: "p" } }],
    };
    const { parts } = await loadTurn(parse(event), NONE, sources);
    expect(parts).toEqual([
      image("p"),
      text(long),
      { type: "note", text: "[后面的文字太长，已省略]" },
    ]);
    const short = { ...groupMessage(), message: [segment("字".repeat(6_000))] };
    const quoting = await loadTurn(parse(short), found(event), sources);
    expect(quoting.parts).toEqual([text("字".repeat(6_000))]);
    expect(quoting.quote?.parts.at(-1)).toEqual({ type: "note", text: "[后面的文字太长，已省略]" });
  });

  it("loads every message fixture without throwing", async () => {
    for (const name of eventNames()) {
      const parsed = parseMessageEvent(readEvent(name));
      if (parsed.kind !== "message") continue;
      const { parts } = await loadTurn(parsed.message, NONE, sources);
      expect(parts.length === 0, name).toBe(isEmptyMessage(parsed.message, DEFAULT_PHRASES));
    }
  });

  it("rejects with the reason when aborted instead of writing notes", async () => {
    const controller = new AbortController();
    const fetchImage = () => {
      controller.abort("recalled");
      return Promise.reject(new Error("aborted"));
    };
    const turn = loadTurn(
      parse(pictures("a")),
      NONE,
      { ...sources, fetchImage },
      controller.signal,
    );
    await expect(turn).rejects.toBe("recalled");
  });
});

describe("isEmptyMessage", () => {
  it("knows a bare mention", () => {
    expect(isEmptyMessage(parse(groupMessage({ mentionsBot: true })), DEFAULT_PHRASES)).toBe(true);
    const spaced = parse(groupMessage({ mentionsBot: true, text: " " }));
    expect(isEmptyMessage(spaced, DEFAULT_PHRASES)).toBe(true);
    const asked = parse(groupMessage({ mentionsBot: true, text: "?" }));
    expect(isEmptyMessage(asked, DEFAULT_PHRASES)).toBe(false);
  });
});
