import { describe, expect, it } from "vitest";
import { type ChatSwitch, ChatSwitches } from "../../../src/bot/chat/chat-switches.ts";

const chat = { kind: "group", id: "7" } as const;

describe("ChatSwitches", () => {
  it("reads a chat from its store once, and writes what is changed", () => {
    const stored = new Map<string, ChatSwitch>([["group:7", { persona: "猫", access: "allow" }]]);
    let reads = 0;
    const store = {
      read: (key: string) => {
        reads++;
        return stored.get(key);
      },
      write: (key: string, value: ChatSwitch) => void stored.set(key, value),
    };
    const switches = new ChatSwitches(store, () => 5000);
    expect(switches.of(chat)).toEqual({ persona: "猫", access: "allow" });
    switches.mute(chat, 1000);
    switches.change(chat, { persona: undefined });
    expect(switches.of(chat)).toEqual({ access: "allow", mutedUntilMs: 6000 });
    expect(stored.get("group:7")).toEqual({ access: "allow", mutedUntilMs: 6000 });
    expect(reads).toBe(1);
    expect(switches.of({ kind: "private", id: "7" })).toEqual({});
  });
});
