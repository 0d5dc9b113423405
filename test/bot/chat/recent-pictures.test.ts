import { describe, expect, it } from "vitest";
import { type RecentPictureLimits, RecentPictures } from "../../../src/bot/chat/recent-pictures.ts";
import { type IncomingMessage, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { DEFAULT_IMAGES } from "../../../src/bot/options.ts";
import { type GroupMessageOptions, groupMessage } from "../../../src/bot/testing.ts";
import { PIXEL_PNG, readCase } from "../../support/events.ts";

const START = 1_790_000_000_000;
const [XIAOMING, XIAOHONG] = [1000000002, 1000000005];

function parse(event: unknown): IncomingMessage {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message;
}

function setUp(limits: Partial<RecentPictureLimits> = {}, known: readonly string[] = []) {
  let nowMs = 0;
  const recent = new RecentPictures(
    { ...DEFAULT_IMAGES, ...limits },
    (_chat, messageId) => known.includes(messageId),
    () => nowMs,
  );
  const message = (seconds: number, options: GroupMessageOptions) => {
    nowMs = seconds * 1000;
    return parse(groupMessage({ timeMs: START + seconds * 1000, ...options }));
  };
  /** Somebody sends a picture; returns the id. */
  const picture = (seconds: number, userId = XIAOMING, options: GroupMessageOptions = {}) => {
    const sent = message(seconds, { images: [PIXEL_PNG], userId, ...options });
    recent.note(sent);
    return sent.messageId;
  };
  /** Whose pictures are meant by a question. */
  const meant = (seconds: number, text: string, options: GroupMessageOptions = {}) =>
    recent.meantBy(message(seconds, { text, mentionsBot: true, userId: XIAOMING, ...options }))
      ?.messageId;
  return { recent, picture, meant };
}

describe("RecentPictures", () => {
  it("takes the asker's newest picture, whatever is asked", () => {
    const { picture, meant } = setUp();
    picture(0);
    const second = picture(5);
    picture(6, XIAOHONG);
    expect(meant(10, "这是什么")).toBe(second);
    expect(meant(10, "好看吗")).toBe(second);
    expect(meant(10, "")).toBe(second);
  });

  it("takes one of somebody else for a question about a picture, or for none", () => {
    const { picture, meant } = setUp();
    const hers = picture(0, XIAOHONG);
    expect(meant(10, "这张图里是什么")).toBe(hers);
    expect(meant(10, "这是谁")).toBe(hers);
    expect(meant(10, "")).toBe(hers);
    expect(meant(10, "今天天气怎么样")).toBeUndefined();
  });

  it("forgets an own picture after 120 s and another's after 60 s", () => {
    const { picture, meant } = setUp();
    const own = picture(0);
    expect(meant(119, "这是什么")).toBe(own);
    expect(meant(120, "这是什么")).toBeUndefined();
    const hers = picture(200, XIAOHONG);
    expect(meant(259, "这是什么")).toBe(hers);
    expect(meant(260, "这是什么")).toBeUndefined();
  });

  it("can be told other times, and to remember nothing", () => {
    const { picture, meant } = setUp({ recentOwnMs: 0, recentOthersMs: 5000 });
    const own = picture(0);
    expect(meant(1, "看看"), "an own picture is one of the chat too").toBe(own);
    expect(meant(6, "看看")).toBeUndefined();
    const off = setUp({ recentOwnMs: 0, recentOthersMs: 0 });
    off.picture(0);
    expect(off.meant(0, "这是什么")).toBeUndefined();
  });

  it("goes by QQ's clock where it can: messages replayed together are not of one moment", () => {
    const { recent } = setUp();
    const at = (timeMs: number, options: GroupMessageOptions) =>
      parse(groupMessage({ timeMs, userId: XIAOMING, ...options }));
    recent.note(at(START, { images: [PIXEL_PNG] }));
    expect(recent.meantBy(at(START + 130_000, { text: "这是什么" }))).toBeUndefined();
    expect(recent.meantBy(at(START + 100_000, { text: "这是什么" }))).toBeDefined();
    expect(recent.meantBy(at(START - 10_000, { text: "这是什么" }))).toBeUndefined();
    expect(recent.meantBy({ ...at(START, { text: "这是什么" }), timeMs: undefined })).toBeDefined();
  });

  it("keeps chats apart, and takes nothing from the bot itself", () => {
    const { recent, picture, meant } = setUp();
    picture(0, XIAOMING, { groupId: 7 });
    const own = parse(groupMessage({ images: [PIXEL_PNG], userId: 3000000001 }));
    expect(own.fromSelf).toBe(true);
    recent.note(own);
    expect(meant(1, "这是什么")).toBeUndefined();
    expect(meant(1, "这是什么", { groupId: 7 })).toBeDefined();
  });

  it("leaves out what a turn is dealing with, what was taken back, and the question itself", () => {
    const { recent, picture, meant } = setUp({}, ["41"]);
    picture(0, XIAOMING, { messageId: 41 });
    expect(meant(1, "这是什么")).toBeUndefined();
    const id = picture(2);
    recent.forgetMessage({ kind: "group", id: "700000003" }, id);
    expect(meant(3, "这是什么")).toBeUndefined();
    picture(4, XIAOMING, { messageId: 43 });
    expect(meant(4, "这是什么", { messageId: 43 })).toBeUndefined();
    recent.reset({ kind: "group", id: "700000003" });
    expect(meant(5, "这是什么")).toBeUndefined();
  });

  it("keeps references only: no words, and no endless number of them", () => {
    const { recent } = setUp();
    recent.note(parse(groupMessage({ text: "SECRET", images: [PIXEL_PNG], timeMs: START })));
    const question = parse(groupMessage({ text: "这是什么", timeMs: START }));
    const { segments } = recent.meantBy(question) ?? { segments: [] };
    expect(segments.map(({ type }) => type)).toEqual(["image"]);

    const big = new Uint8Array(3 * 1024 * 1024);
    recent.note(parse(groupMessage({ images: [big], timeMs: START })));
    expect(recent.meantBy(question), "4 MB of base64 are too much to keep").toBeUndefined();
  });

  it("shows the picture that was quoted where the quote got lost on the way", () => {
    const { recent } = setUp();
    recent.note(parse(readCase("group_image_before")));
    const meant = recent.meantBy(parse(readCase("group_at_text_quote_lost")));
    expect(meant?.messageId).toBe("512092934");
  });
});
