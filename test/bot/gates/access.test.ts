import { describe, expect, it } from "vitest";
import { ChatSwitches } from "../../../src/bot/chat/chat-switches.ts";
import { Access } from "../../../src/bot/gates/access.ts";
import { DEFAULT_ACCESS, resolveGateOptions } from "../../../src/bot/gates/gate-options.ts";
import { AllowedIds } from "../../../src/bot/gates/id-lists.ts";
import { Silenced } from "../../../src/bot/gates/silenced.ts";
import { groupMessage, privateMessage } from "../../../src/bot/testing.ts";
import { readEvent } from "../../support/events.ts";
import { parseEvent } from "../../support/parse-event.ts";

const member = parseEvent(groupMessage({ groupId: 700, userId: 41 }));
const friend = parseEvent(privateMessage({ userId: 41 }));
const admin = parseEvent(groupMessage({ groupId: 700, userId: 9 }));
const adminInPrivate = parseEvent(privateMessage({ userId: 9 }));
const temporary = parseEvent({ ...readEvent("private_temp_session"), user_id: 41 });

function reasons(
  options: Parameters<typeof resolveGateOptions>[0]["access"],
  switches = new ChatSwitches(),
) {
  const { access } = resolveGateOptions({ ...(options === undefined ? {} : { access: options }) });
  const gate = new Access(access, ["9"], switches);
  return [member, friend, temporary, admin, adminInPrivate].map(
    (message) => gate.refuse(message)?.reason ?? "open",
  );
}

const [open, user, chat] = ["open", "user-denied", "chat-denied"];

describe("Access", () => {
  // In a group, of a friend, of a stranger, of an admin in the group and in private.
  it.each([
    ["nothing", undefined, [open, open, open, open, open]],
    ["another group alone", { groups: { allow: ["701"] } }, [chat, open, open, chat, open]],
    ["groups by wildcard", { groups: { allow: ["70?"] } }, [open, open, open, open, open]],
    ["all groups but this", { groups: { deny: ["7*"] } }, [chat, open, open, chat, open]],
    ["one other person", { users: { allow: ["42"] } }, [user, user, user, open, open]],
    ["all but one person", { users: { deny: ["41"] } }, [user, user, user, open, open]],
    ["no friends", { friends: false }, [open, chat, open, open, open]],
    ["no strangers", { temporary: false }, [open, open, chat, open, open]],
    ["no groups", { groups: { allow: [] } }, [chat, open, open, chat, open]],
    ["nobody", { users: { allow: [] } }, [user, user, user, open, open]],
  ])("keeps to its lists: %s", (_, options, expected) => {
    expect(reasons(options)).toEqual(expected);
  });

  it("hears admins everywhere, and nobody else where it does not serve", () => {
    const access = { ...DEFAULT_ACCESS, groups: { allow: [], deny: [] } };
    const { atDoor } = new Access(access, ["9"], new ChatSwitches());
    expect(atDoor.refuse(admin)).toBeUndefined();
    expect(atDoor.refuse(member)).toEqual({ reason: "chat-denied" });
  });

  it("puts what was said in a chat above the lists", () => {
    const switches = new ChatSwitches();
    switches.change(member.chat, { access: "allow" });
    switches.change(friend.chat, { access: "deny" });
    expect(reasons({ groups: { allow: [] } }, switches)).toEqual([open, chat, chat, open, open]);
  });
});

describe("AllowedIds", () => {
  it.each([
    ["12*", "123", true],
    ["12*", "12", true],
    ["12*", "212", false],
    ["1?3", "123", true],
    ["1?3", "1223", false],
    ["**1**", "010", true],
    ["*", "", true],
    ["123", "1234", false],
  ])("takes %s for %s: %s", (pattern, id, expected) => {
    expect(new AllowedIds({ allow: [pattern], deny: [] }).has(id)).toBe(expected);
  });

  it("takes no time to refuse an id by a list of stars", () => {
    const lists = { allow: [`${"*".repeat(5000)}x`], deny: [] };
    expect(new AllowedIds(lists).has("1".repeat(20))).toBe(false);
  });
});

describe("Silenced", () => {
  it("refuses until the time is over or somebody lifts it", () => {
    let now = 1000;
    const switches = new ChatSwitches(undefined, () => now);
    const gate = new Silenced(switches);
    expect(gate.refuse(member)).toBeUndefined();
    switches.mute(member.chat, 60_000);
    expect(gate.refuse(member)).toEqual({ reason: "silenced" });
    expect(gate.refuse(friend)).toBeUndefined();
    now += 60_000;
    expect(gate.refuse(member)).toBeUndefined();
    switches.mute(member.chat);
    now += 1e12;
    expect(gate.refuse(member)).toEqual({ reason: "silenced" });
    switches.change(member.chat, { mutedUntilMs: undefined });
    expect(gate.refuse(member)).toBeUndefined();
  });
});
