import { describe, expect, it } from "vitest";
import { rankOf, reaches } from "../../src/bot/rank.ts";
import { groupMessage, privateMessage } from "../../src/bot/testing.ts";
import { readEvent } from "../support/events.ts";
import { parseEvent } from "../support/parse-event.ts";

const inGroup = (role: string) => {
  const event = groupMessage({ userId: 41 });
  return parseEvent({ ...event, sender: { ...(event.sender as object), role } });
};

describe("rankOf", () => {
  it.each([
    ["an owner", inGroup("owner"), "group-admin"],
    ["an administrator", inGroup("admin"), "group-admin"],
    ["a member", inGroup("member"), "everybody"],
    ["a role nobody knows", inGroup("root"), "everybody"],
    ["no role at all", parseEvent(readEvent("group_no_role_sender")), "everybody"],
    ["somebody in private", parseEvent(privateMessage({ userId: 41 })), "group-admin"],
    ["an admin of the bot", parseEvent(groupMessage({ userId: 9 })), "admin"],
  ])("takes %s", (_, message, rank) => {
    expect(rankOf(message, ["9"])).toBe(rank);
  });

  it("does not believe a role in a private message", () => {
    const event = privateMessage({ userId: 41 });
    const message = parseEvent({
      ...event,
      sender: { ...(event.sender as object), role: "owner" },
    });
    expect(message.senderRole).toBeUndefined();
  });
});

describe("reaches", () => {
  it("orders the ranks", () => {
    expect(reaches("admin", "group-admin")).toBe(true);
    expect(reaches("group-admin", "group-admin")).toBe(true);
    expect(reaches("everybody", "group-admin")).toBe(false);
    expect(reaches("group-admin", "admin")).toBe(false);
  });
});
