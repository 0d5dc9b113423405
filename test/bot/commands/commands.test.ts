import { describe, expect, it } from "vitest";
import { Commands } from "../../../src/bot/commands/commands.ts";
import { parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { type GroupMessageOptions, groupMessage } from "../../../src/bot/testing.ts";

const help = { names: ["help", "帮助"], run: () => "…" };
const commands = new Commands("/", [help]);

function find(options: GroupMessageOptions) {
  const parsed = parseMessageEvent(groupMessage(options));
  return parsed.kind === "message" ? commands.find(parsed.message) : undefined;
}

describe("Commands", () => {
  it.each([
    ["/help", ""],
    [" /帮助  图片\n怎么发 ", "图片\n怎么发"],
    ["/HELP x", "x"],
  ])("finds %j", (text, argument) => {
    expect(find({ text })).toEqual({ command: help, argument });
    expect(find({ text, mentionsBot: true })).toEqual({ command: help, argument });
  });

  it.each(["help", "//help", "/helpme", "看 /help", "/", "/constructor", ""])(
    "takes %j for none",
    (text) => {
      expect(find({ text })).toBeUndefined();
    },
  );

  it("takes the command that was registered last", () => {
    const own = { names: ["帮助"], run: () => "自己的" };
    const registry = new Commands("!", [help]);
    registry.register(own);
    const parsed = parseMessageEvent(groupMessage({ text: "!帮助" }));
    expect(parsed.kind === "message" && registry.find(parsed.message)?.command).toBe(own);
  });
});
