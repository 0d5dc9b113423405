import { describe, expect, it } from "vitest";
import {
  describeError,
  ImageFetchError,
  isVlmBotError,
  OneBotCallError,
} from "../../src/bot/errors.ts";
import { safeLogger } from "../../src/bot/logger.ts";
import { redact } from "../../src/bot/redact.ts";
import { DisposedError } from "../../src/vlm/index.ts";

describe("redact", () => {
  it.each([
    ["see https://multimedia.nt.qq.com.cn/download?rkey=CANARY now", "see <url> now"],
    ["ws://h/?access_token=CANARY", "<url>"],
    ["access_token=CANARY&x", "access_token=<hidden>"],
    ['{"token": "CANARY"}', '{"token=<hidden>'],
    [`base64 ${"CANARY09".repeat(9)}==`, "base64 <data>"],
    ["two\nlines\tand  spaces", "two lines and spaces"],
  ])("cleans %j", (text, clean) => {
    expect(redact(text)).toBe(clean);
  });

  it("cuts long text", () => {
    expect(redact("很长 ".repeat(1000)).length).toBeLessThan(210);
  });
});

describe("describeError", () => {
  it("shows our own errors, of strangers only name and code, and of values only the kind", () => {
    expect(describeError(new ImageFetchError("expired", "The link has expired."))).toBe(
      "ImageFetchError (expired): The link has expired.",
    );
    expect(describeError(new DisposedError("The model"))).toContain("DisposedError (disposed)");
    expect(describeError(Object.assign(new TypeError("CANARY"), { code: "E_X" }))).toBe(
      "TypeError (E_X)",
    );
    expect(describeError("CANARY")).toBe("string");
    const wording = "EventChecker Failed: CANARY result: 120";
    const refusal = { cause: { message: wording }, retcode: 1200 };
    expect(describeError(new OneBotCallError("send_group_msg", "refused", wording, refusal))).toBe(
      "OneBotCallError (onebot-call-failed): NapCat refused send_group_msg (retcode 1200): result: 120.",
    );
  });
});

describe("errors of the bot", () => {
  it("are known across two copies of the package, and tell what failed", () => {
    const error = new OneBotCallError("send_group_msg", "refused", "消息不存在", { retcode: 1200 });
    expect(isVlmBotError(error)).toBe(true);
    expect(isVlmBotError({ [Symbol.for("napcat-vlm.VlmBotError")]: true })).toBe(true);
    expect([undefined, null, "x", new Error("x")].some(isVlmBotError)).toBe(false);
    expect(String(error)).toBe(
      "OneBotCallError: NapCat refused send_group_msg (retcode 1200): 消息不存在",
    );
  });
});

describe("safeLogger", () => {
  it("passes lines on and swallows what the logger throws", () => {
    const lines: unknown[] = [];
    const fail = () => {
      throw new Error("disk full");
    };
    const logger = safeLogger({
      debug: fail,
      info: fail,
      warn: fail,
      error: (...line) => lines.push(line),
    });
    logger.warn("x");
    logger.error("y", { a: 1 });
    expect(lines).toEqual([["y", { a: 1 }]]);
  });
});
