import { describe, expect, it } from "vitest";
import { NapCatCalls } from "../../src/bot/napcat/calls.ts";
import { FakeNapCat, groupMessage, privateMessage } from "../../src/bot/testing.ts";
import { readEvent } from "../support/events.ts";

describe("FakeNapCat", () => {
  it("calls listeners by the names node-napcat-ts uses, the most specific first", () => {
    const napcat = new FakeNapCat();
    const heard: string[] = [];
    for (const name of ["message", "message.group", "message.group.normal", "notice"]) {
      napcat.on(name, () => heard.push(name));
    }
    napcat.receive(groupMessage());
    expect(heard).toEqual(["message.group.normal", "message.group", "message"]);
    napcat.receive(readEvent("notice_group_recall"));
    expect(heard.at(-1)).toBe("notice");
  });

  it("answers from its script and refuses what it does not know", async () => {
    const napcat = new FakeNapCat().answer("get_msg", ({ message_id }) => ({ message_id }));
    await expect(napcat.send("get_msg", { message_id: 5 })).resolves.toEqual({ message_id: 5 });
    await expect(napcat.send("get_image", {})).rejects.toMatchObject({ retcode: 1404 });
    await expect(napcat.refuse("get_msg", "消息不存在").send("get_msg", {})).rejects.toEqual(
      expect.not.objectContaining({ stack: expect.anything() }),
    );
    expect(napcat.calls).toHaveLength(3);
  });

  it("plays failures: silence, and a connection that breaks and comes back", async () => {
    const napcat = new FakeNapCat().neverAnswer("get_msg");
    const closed = new Promise<void>((resolve) => napcat.on("socket.close", () => resolve()));
    const calls = new NapCatCalls(napcat);
    const unanswered = calls.call("get_msg", {});
    napcat.disconnect();
    await closed;
    await expect(unanswered).rejects.toMatchObject({ outcome: "unknown" });
    await expect(calls.call("send_group_msg", {})).rejects.toMatchObject({ outcome: "not-sent" });
    napcat.connect();
    await expect(calls.call("send_group_msg", {})).resolves.toHaveProperty("message_id");
    expect(napcat.calls.map(({ action }) => action)).toEqual(["get_msg", "send_group_msg"]);
  });

  it("collects what was sent", async () => {
    const napcat = new FakeNapCat();
    const message = [
      { type: "reply", data: { id: "1" } },
      { type: "text", data: { text: "好" } },
    ];
    await napcat.send("send_private_msg", { user_id: 1, message });
    await napcat.send("get_login_info", {});
    expect(napcat.sentTexts).toEqual(["好"]);
  });
});

describe("messages made for tests", () => {
  it("have the fields of real ones, and ids of their own", () => {
    const keys = (event: object) => Object.keys(event).filter((key) => key !== "real_seq");
    expect(keys(groupMessage()).sort()).toEqual(keys(readEvent("group_text")).sort());
    expect(keys(privateMessage()).sort()).toEqual(keys(readEvent("private_friend_text")).sort());
    expect(groupMessage().message_id).not.toBe(groupMessage().message_id);
  });
});
